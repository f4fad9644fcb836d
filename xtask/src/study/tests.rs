//! What a reader of the page relies on.

use super::*;

fn study() -> Study {
    Study::read(&docs().join("study/study.toml")).unwrap()
}

/// A run as if it had come to this.
fn outcome(job: Job, recall: f64, map: f64) -> Outcome {
    let made = results::Made {
        version: "1".into(),
        processor: "a processor".into(),
        threads: 1,
        jobs: 2,
        date: "2026-01-01".into(),
    };
    let hits: Vec<bool> = (0..100)
        .map(|query| f64::from(query) < 100.0 * recall)
        .collect();
    Outcome {
        hits: job.sees_test.then(|| results::Hits::new(&hits)),
        metrics: [("recall@1".to_owned(), recall), ("map@r".to_owned(), map)].into(),
        baseline: Default::default(),
        estimates: Vec::new(),
        failed: None,
        steps: 1,
        images: 4,
        seconds: 1.0,
        peak_memory: Some(1_000_000),
        made,
        job,
    }
}

#[test]
fn every_run_of_the_study_can_be_configured_and_no_draw_sees_the_test() {
    for (study, quick) in [(study(), false), (study().quick(), true)] {
        for claim in &study.claims {
            for cell in study.cells(claim, quick) {
                let source = study.data[claim.data_of(cell.line)].source;
                let fresh: Vec<u64> = claim.seeds.clone();
                for draw in cell.draws() {
                    let config = draw.config(source).unwrap();
                    assert!(!config.evaluation.test && config.evaluation.validation > 0.0);
                    assert!(!draw.sees_test && !fresh.contains(&draw.seed));
                }
                for run in cell.finals(None) {
                    let config = run.config(source).unwrap();
                    assert_eq!(config.evaluation.test, run.sees_test, "{}", claim.name);
                }
            }
        }
    }
}

#[test]
fn a_search_that_saw_the_test_is_refused() {
    let study = study();
    let claim = &study.claims[0];
    let cells = study.cells(claim, false);
    let draws = cells[0].draws();
    let found = |values: &[f64]| -> Vec<Outcome> {
        (draws.iter().zip(values))
            .map(|(job, &map)| outcome(job.clone(), 1.0 - map, map))
            .collect()
    };
    let outcomes = found(&[0.2, 0.5, 0.5, 0.1]);
    let chosen = select::best(&outcomes.iter().collect::<Vec<_>>()).unwrap();
    // By map@r, and the earlier one of equals.
    assert_eq!(chosen, Some(&outcomes[1]));

    let mut seen = found(&[0.2, 0.5]);
    seen[0] = outcome(cells[0].finals(None)[0].clone(), 0.9, 0.9);
    let refused = select::best(&seen.iter().collect::<Vec<_>>()).unwrap_err();
    assert!(refused.to_string().contains("test classes"), "{refused}");
}

#[test]
fn more_draws_and_seeds_change_no_run_that_is_there() {
    let study = study();
    let mut more = study.clone();
    more.claims[0].draws += 3;
    more.claims[0].seeds.push(99);
    let [before, after] = [&study, &more].map(|study| {
        let cell = &study.cells(&study.claims[0], false)[1];
        (cell.draws(), cell.finals(None))
    });
    assert_eq!(after.0[..before.0.len()], before.0);
    assert_eq!(after.1[..before.1.len()], before.1);
    assert_ne!(before.0[1].settings, before.0[2].settings);
}

#[test]
fn results_are_kept_and_a_search_ends_in_its_best() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study/results");
    let mut results = Results::open(&path).unwrap();
    let study = study();
    let cell = &study.cells(&study.claims[0], false)[0];
    for (at, job) in cell.draws().into_iter().enumerate() {
        let Stage::Searching(_) = Stage::of(cell, &results).unwrap() else {
            panic!("{at} draws are not all");
        };
        results
            .add(outcome(job, 0.5, 0.1 * (at % 3) as f64))
            .unwrap();
    }
    let results = Results::open(&path).unwrap();
    let Stage::Found(finals) = Stage::of(cell, &results).unwrap() else {
        panic!("all draws are there");
    };
    // That of draw 2, with a quarter of the classes no longer held out.
    let best = &cell.draws()[2].settings;
    let rate = |settings: &[String]| {
        let own = settings
            .iter()
            .find(|setting| setting.starts_with("optimiser.learning_rate="));
        own.cloned()
    };
    assert_eq!(rate(&finals[0].settings), rate(best));
    assert!(
        finals[0]
            .settings
            .contains(&"evaluation.validation=0".to_owned())
    );
    assert_eq!(finals.len(), study.claims[0].seeds.len());
}

#[test]
fn hits_are_written_in_bits() {
    let hits = [
        true, false, true, true, false, false, false, false, true, false,
    ];
    let values = results::Hits::new(&hits).values().unwrap();
    assert_eq!(values, hits.map(|hit| f64::from(u8::from(hit))));
}

/// The page in the repository says what its results say, whoever edited either.
#[test]
fn the_page_is_that_of_the_results() {
    let results = Results::open(&docs().join("study/results")).unwrap();
    let page = page::write(&study(), &results, false).unwrap();
    let told = "write it again: cargo xtask study --page";
    let text = fs::read_to_string(docs().join("study.md")).unwrap();
    assert!(text == page.text, "docs/study.md: {told}");
    for (name, figure) in &page.figures {
        let there = fs::read_to_string(docs().join("study").join(name)).unwrap_or_default();
        assert!(there == *figure, "docs/study/{name}: {told}");
    }
}
