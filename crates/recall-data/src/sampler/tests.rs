use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

/// Ids and labels of classes of the given sizes. Ids are neither dense nor in order of the labels.
fn classes(sizes: &[usize]) -> (Vec<ItemId>, Vec<u32>) {
    let mut labelled: Vec<(ItemId, u32)> = Vec::new();
    for (label, &size) in (0..).zip(sizes) {
        labelled.extend((0..size).map(|_| (0, label)));
    }
    let count = labelled.len();
    for (place, (id, _)) in labelled.iter_mut().enumerate() {
        // A permutation: 7 and the count may have common factors, so step through residues.
        *id = (place % 7) * count + place / 7;
    }
    labelled.into_iter().unzip()
}

fn config(batch: usize, each: usize, small: SmallClasses, seed: u64) -> BatchSamplerConfig {
    BatchSamplerConfig {
        small_classes: small,
        seed,
        ..BatchSamplerConfig::new(batch, each)
    }
}

fn policies() -> impl Strategy<Value = SmallClasses> {
    prop::sample::select(vec![
        SmallClasses::LeaveOut,
        SmallClasses::TakeAll,
        SmallClasses::TakeSingletons,
        SmallClasses::Repeat,
    ])
}

fn refusal(config: BatchSamplerConfig, sizes: &[usize]) -> String {
    let (ids, labels) = classes(sizes);
    config.init(&ids, &labels).unwrap_err().to_string()
}

#[test]
fn impossible_settings_are_refused_by_name() {
    let sizes = [4; 10];
    for (settings, words) in [
        ((8, 1), vec!["samples_per_class is 1"]),
        ((8, 0), vec!["samples_per_class is 0"]),
        ((10, 4), vec!["batch_size 10", "multiple", "8 is"]),
        ((0, 4), vec!["batch_size 0", "at least 8"]),
        ((4, 4), vec!["batch_size 4", "at least 8"]),
        (
            (44, 4),
            vec!["batch of 44", "needs 11 classes", "10 classes"],
        ),
        (
            (15, 5),
            vec!["needs 3 classes", "0 of the 10 classes have enough"],
        ),
    ] {
        let message = refusal(BatchSamplerConfig::new(settings.0, settings.1), &sizes);
        words
            .iter()
            .for_each(|word| assert!(message.contains(word), "{word}: {message}"));
    }
    // Three classes of 2 fill two groups of 4, one too few for three places.
    let message = refusal(config(12, 4, SmallClasses::TakeAll, 0), &[2, 2, 2]);
    assert!(message.contains("2 places"), "{message}");

    let config = BatchSamplerConfig::new(4, 2);
    assert!(
        config
            .init(&[1, 2], &[0])
            .unwrap_err()
            .to_string()
            .contains("2 ids but 1 labels")
    );
    let message = config
        .init(&[1, 2, 3, 1], &[0, 0, 1, 1])
        .unwrap_err()
        .to_string();
    assert!(message.contains("item 1 is given twice"), "{message}");
}

#[test]
fn small_classes_are_left_out_aloud_or_taken_whole() {
    let (ids, labels) = classes(&[1, 2, 3, 4, 5, 8, 3]);
    let out = config(8, 4, SmallClasses::LeaveOut, 0)
        .init(&ids, &labels)
        .unwrap();
    assert_eq!(
        out.left_out(),
        ClassCount {
            classes: 4,
            images: 9
        }
    );
    assert!(out.epoch(0).iter().all(|batch| batch.len() == 8));

    let all = config(8, 4, SmallClasses::TakeAll, 0)
        .init(&ids, &labels)
        .unwrap();
    assert_eq!(
        all.left_out(),
        ClassCount {
            classes: 1,
            images: 1
        }
    );
    // Groups: one of 4, one of 4 of the 5, two of the 8, and 3, 3, 2 on their own.
    assert_eq!(all.steps_per_epoch(), 3);
    let small = ClassCount {
        classes: 3,
        images: 8,
    };
    assert_eq!((out.small(), all.small()), (ClassCount::default(), small));

    let repeat = config(8, 4, SmallClasses::Repeat, 0)
        .init(&ids, &labels)
        .unwrap();
    assert_eq!((repeat.left_out(), repeat.small()), (all.left_out(), small));
    assert!(repeat.epoch(0).iter().all(|batch| batch.len() == 8));
}

#[test]
fn singletons_have_at_most_half_of_a_batch() {
    let sizes = [&[4; 10][..], &[1; 30]].concat();
    let (ids, labels) = classes(&sizes);
    let of = |batch| config(batch, 4, SmallClasses::TakeSingletons, 0);
    let sampler = of(8).init(&ids, &labels).unwrap();
    let small = ClassCount {
        classes: 30,
        images: 30,
    };
    assert_eq!(
        (sampler.small(), sampler.left_out()),
        (small, ClassCount::default())
    );
    // Eight groups of singletons, the last of two images, each beside a class of four; what is left of the
    // ten classes makes one more batch.
    let batches = sampler.epoch(3);
    assert_eq!(batches.len(), 9);
    let images: usize = batches.iter().map(Vec::len).sum();
    assert_eq!(images, 10 * 4 + 30);

    // As many places of singletons as of classes that find something.
    let sampled = |sizes: &[usize]| {
        let (ids, labels) = classes(sizes);
        of(8).sort(&ids, &labels, &HashMap::new()).families
    };
    assert_eq!(of(8).largest(&sampled(&sizes)), Some(4 * 18));
    assert_eq!(of(72).init(&ids, &labels).unwrap().epoch(0)[0].len(), 70);
    assert_eq!(of(8).largest(&sampled(&[4, 1, 1])), Some(8));
    assert_eq!(of(8).largest(&sampled(&[1; 100])), None);
    let nothing = refusal(of(8), &[1; 100]);
    assert!(nothing.contains("0 of the 100 classes"), "{nothing}");
    let narrow = BatchSamplerConfig {
        super_classes_per_batch: Some(2),
        ..of(8)
    };
    let refused = narrow.validate().unwrap_err().to_string();
    assert!(refused.contains("use at most 1"), "{refused}");
}

#[test]
fn small_classes_share_places_so_that_batches_stay_near_their_size() {
    let (ids, labels) = classes(&[2; 100]);
    let sampler = config(40, 4, SmallClasses::TakeAll, 0)
        .init(&ids, &labels)
        .unwrap();
    assert_eq!(sampler.steps_per_epoch(), 5);
    assert!(sampler.epoch(0).iter().all(|batch| batch.len() == 40));
}

#[test]
fn a_large_class_is_in_every_batch_and_the_epoch_is_as_long_as_can_be() {
    // The class of 400 can give each batch one group; the others must fill the rest.
    let mut sizes = vec![400];
    sizes.extend([4; 30]);
    let (ids, labels) = classes(&sizes);
    let sampler = config(16, 4, SmallClasses::LeaveOut, 3)
        .init(&ids, &labels)
        .unwrap();
    assert_eq!(sampler.steps_per_epoch(), 10);
    let label_of: HashMap<_, _> = ids.iter().zip(&labels).collect();
    for batch in sampler.epoch(0) {
        assert!(batch.iter().any(|id| *label_of[id] == 0));
    }
}

#[test]
fn epochs_and_seeds_differ_and_the_order_of_the_ids_does_not_matter() {
    let (mut ids, mut labels) = classes(&[6; 20]);
    let sampler = |ids: &[_], labels: &[_], seed| {
        config(16, 4, SmallClasses::LeaveOut, seed)
            .init(ids, labels)
            .unwrap()
    };
    let first = sampler(&ids, &labels, 1);
    assert_ne!(first.epoch(0), first.epoch(1));
    assert_ne!(first.epoch(0), sampler(&ids, &labels, 2).epoch(0));
    ids.reverse();
    labels.reverse();
    assert_eq!(first.epoch(5), sampler(&ids, &labels, 1).epoch(5));
}

#[test]
fn large_and_small_classes_are_spread_over_the_whole_epoch() {
    // Half of the classes have four times as many groups as the others.
    let sizes: Vec<usize> = (0..100)
        .map(|class| if class % 2 == 0 { 16 } else { 4 })
        .collect();
    let (ids, labels) = classes(&sizes);
    let sampler = config(40, 4, SmallClasses::LeaveOut, 0)
        .init(&ids, &labels)
        .unwrap();
    let label_of: HashMap<_, _> = ids.iter().zip(&labels).collect();
    let (mut early, mut late) = (0, 0);
    for epoch in 0..40 {
        let batches = sampler.epoch(epoch);
        let middle = batches.len() / 2;
        for (place, batch) in batches.iter().enumerate() {
            let small = batch.iter().filter(|id| *label_of[id] % 2 == 1).count();
            *(if place < middle {
                &mut early
            } else {
                &mut late
            }) += small;
        }
    }
    let part = f64::from(early as u32) / f64::from((early + late) as u32);
    assert!(
        (0.4..0.6).contains(&part),
        "{part} of the small classes come in the first half"
    );
}

#[test]
fn every_class_may_meet_every_other_one() {
    let (ids, labels) = classes(&[8; 12]);
    let sampler = config(12, 4, SmallClasses::LeaveOut, 0)
        .init(&ids, &labels)
        .unwrap();
    let label_of: HashMap<_, _> = ids.iter().zip(&labels).collect();
    let mut pairs = HashSet::new();
    for batch in (0..60).flat_map(|epoch| sampler.epoch(epoch)) {
        let labels: HashSet<u32> = batch.iter().map(|id| *label_of[id]).collect();
        for a in &labels {
            pairs.extend(labels.iter().filter(|b| a < b).map(|b| (*a, *b)));
        }
    }
    assert_eq!(pairs.len(), 12 * 11 / 2);
}

/// The length of an epoch by trying: is there a batch plan of `steps`? By the theorem of Gale and
/// Ryser there is one if it can be built by always taking the classes with the most groups left.
fn greedy_steps(groups: &[usize], places: usize) -> usize {
    let mut left = groups.to_vec();
    let mut steps = 0;
    loop {
        left.sort_unstable_by(|a, b| b.cmp(a));
        if left.len() < places || left[places - 1] == 0 {
            return steps;
        }
        left[..places].iter_mut().for_each(|count| *count -= 1);
        steps += 1;
    }
}

/// A data set with a super-class for each class.
fn families(sizes: &[(usize, u32)]) -> Dataset {
    let mut items = Vec::new();
    for (class, &(size, family)) in (0..).zip(sizes) {
        for _ in 0..size {
            let source = crate::ImageSource::Embedded(b"");
            let mut item = crate::Item::new("x", source, class, crate::Split::Train);
            item.super_class = Some(family);
            items.push(item);
        }
    }
    let names = |count: usize| (0..count).map(|name| name.to_string()).collect();
    Dataset::from_items("families", items, names(sizes.len()))
        .unwrap()
        .with_super_class_names(names(8))
        .unwrap()
}

#[test]
fn super_classes_that_cannot_be_used_are_refused() {
    let config = |count| BatchSamplerConfig {
        super_classes_per_batch: Some(count),
        ..BatchSamplerConfig::new(16, 4)
    };
    let dataset = families(&[(4, 0), (4, 0), (4, 1), (4, 2), (9, 2)]);
    let ids: Vec<ItemId> = (0..dataset.items().len()).collect();
    let refusal = |count| {
        let refused = config(count).init_for(&dataset, &ids);
        refused.unwrap_err().to_string()
    };
    assert!(refusal(0).contains("super_classes_per_batch is 0"));
    assert!(refusal(3).contains("super_classes_per_batch is 3"));
    // One super-class has classes enough for two places, one for four places of none.
    assert!(refusal(1).contains("0 super-classes"), "{}", refusal(1));
    let sampler = config(2).init_for(&dataset, &ids).unwrap();
    assert_eq!(sampler.steps_per_epoch(), 1);
    let expected = ClassCount {
        classes: 1,
        images: 4,
    };
    assert_eq!(
        sampler.left_out(),
        expected,
        "the only class of super-class 1"
    );

    let message = config(2).init(&[0, 1], &[0, 0]).unwrap_err().to_string();
    assert!(message.contains("init_for"), "{message}");
    let plain = crate::DataSpec::Emoji.open().unwrap();
    let bare = Dataset::from_items(
        "bare",
        plain.items()[..8]
            .iter()
            .cloned()
            .map(|mut item| {
                item.super_class = None;
                item
            })
            .collect(),
        plain.class_names().to_vec(),
    )
    .unwrap();
    let message = config(2).init_for(&bare, &[0, 1]).unwrap_err().to_string();
    assert!(message.contains("has no super-class"), "{message}");
}

#[test]
fn the_batches_of_a_seed_stay_what_they_were() {
    // A run that is resumed by a later version has to meet the same batches.
    let drawn = |sizes: &[usize], small| {
        let (ids, labels) = classes(sizes);
        let sampler = config(8, 4, small, 7).init(&ids, &labels).unwrap();
        sampler.epoch(3)
    };
    assert_eq!(
        drawn(&[4, 5, 9, 3, 6], SmallClasses::LeaveOut),
        [
            [56, 109, 83, 55, 27, 54, 0, 81],
            [162, 1, 135, 108, 57, 111, 30, 84]
        ]
    );
    assert_eq!(
        drawn(&[4, 5, 9, 3, 6, 2, 3, 2], SmallClasses::TakeAll),
        [
            vec![34, 68, 0, 102, 204, 1, 170, 136],
            vec![171, 103, 205, 36, 38, 72, 106],
            vec![71, 139, 37, 105, 138, 172, 206],
            vec![70, 137, 104, 69, 140, 174, 4, 207]
        ]
    );
}

#[test]
fn the_largest_batch_is_told_where_one_is_too_large() {
    let message = |config: BatchSamplerConfig, sizes: &[usize]| refusal(config, sizes);
    let twelve = message(BatchSamplerConfig::new(256, 4), &[5; 12]);
    assert_eq!(
        twelve,
        "no batch can be drawn: a batch of 256 images, 4 of each class, needs 64 classes, but 12 of the 12 \
         classes have enough images; the largest that works has 48 images"
    );
    let one = message(BatchSamplerConfig::new(8, 4), &[9, 3, 3]);
    assert!(
        one.ends_with("no batch works with fewer than two such classes"),
        "{one}"
    );
}

proptest! {
    #[test]
    fn the_largest_batch_works_and_no_larger_one_does(
        sizes in prop::collection::vec((1_usize..9, 0_u32..4), 1..20),
        each in 2_usize..5,
        count in prop::option::of(1_usize..4),
        small in policies(),
    ) {
        let dataset = families(&sizes);
        let ids: Vec<ItemId> = (0..dataset.items().len()).collect();
        let of = |batch_size| BatchSamplerConfig {
            super_classes_per_batch: count,
            ..config(batch_size, each, small, 0)
        };
        let step = each * count.unwrap_or(1);
        let works = |images: &usize| of(*images).init_for(&dataset, &ids).is_ok();
        let largest = (step..=step * 25).step_by(step).filter(works).max();
        prop_assert_eq!(of(0).largest_batch(&dataset, &ids).unwrap(), largest);
        if let Some(largest) = largest {
            for images in 0..largest {
                let cut = of(0).cut_to(images);
                prop_assert!(cut <= largest && works(&cut), "{} of {}", cut, largest);
            }
        }
    }

    #[test]
    fn batches_by_super_classes_are_balanced_fresh_and_as_many_as_can_be(
        sizes in prop::collection::vec((2_usize..20, 0_u32..5), 4..50),
        each in 2_usize..5,
        count in 1_usize..4,
        of_each in 1_usize..4,
        small in policies(),
        seed: u64,
    ) {
        prop_assume!(count * of_each >= 2);
        let dataset = families(&sizes);
        let ids: Vec<ItemId> = (0..dataset.items().len()).collect();
        let config = BatchSamplerConfig {
            super_classes_per_batch: Some(count),
            ..config(count * of_each * each, each, small, seed)
        };
        let Ok(sampler) = config.init_for(&dataset, &ids) else { return Ok(()) };
        let batches = sampler.epoch(1);
        prop_assert_eq!(batches.len(), sampler.steps_per_epoch());
        prop_assert_eq!(&batches, &config.init_for(&dataset, &ids).unwrap().epoch(1));
        let mut seen = HashSet::new();
        for batch in &batches {
            let mut families: HashMap<u32, HashSet<u32>> = HashMap::new();
            let mut once = HashSet::new();
            for &id in batch {
                let item = &dataset.items()[id];
                families.entry(item.super_class.unwrap()).or_default().insert(item.class);
                prop_assert!(once.insert(id) || small == SmallClasses::Repeat);
            }
            prop_assert!(once.into_iter().all(|id| seen.insert(id)), "an image comes twice");
            prop_assert_eq!(families.len(), count);
            if matches!(small, SmallClasses::LeaveOut | SmallClasses::Repeat) {
                prop_assert!(families.values().all(|classes| classes.len() == of_each));
                prop_assert_eq!(batch.len(), count * of_each * each);
            }
        }
        if small == SmallClasses::LeaveOut {
            let portions: Vec<usize> = (0..5)
                .map(|family| {
                    let of_family = sizes.iter().filter(|(_, of)| *of == family);
                    let groups: Vec<usize> = of_family.map(|(size, _)| size / each).collect();
                    greedy_steps(&groups, of_each)
                })
                .collect();
            prop_assert_eq!(batches.len(), greedy_steps(&portions, count));
        }
    }

    #[test]
    fn batches_are_balanced_fresh_and_as_many_as_can_be(
        sizes in prop::collection::vec(0_usize..30, 1..40),
        each in 2_usize..6,
        places in 2_usize..8,
        small in policies(),
        seed: u64,
        epoch in 0_u64..3,
    ) {
        let singletons = small == SmallClasses::TakeSingletons;
        let take_all = singletons || small == SmallClasses::TakeAll;
        let repeat = small == SmallClasses::Repeat;
        let least = if singletons { 1 } else { 2 };
        let (ids, labels) = classes(&sizes);
        let config = config(places * each, each, small, seed);
        let Ok(sampler) = config.init(&ids, &labels) else {
            // Refused only if not even the large classes fill a batch.
            prop_assert!(sizes.iter().filter(|&&size| size >= each).count() < places);
            return Ok(());
        };
        let batches = sampler.epoch(epoch);
        prop_assert_eq!(batches.len(), sampler.steps_per_epoch());
        prop_assert_eq!(&batches, &config.init(&ids, &labels).unwrap().epoch(epoch));

        let label_of: HashMap<_, _> = ids.iter().copied().zip(labels.iter().copied()).collect();
        let mut seen = HashSet::new();
        let mut classes_seen = HashSet::new();
        for batch in &batches {
            let mut of_class: HashMap<u32, HashMap<ItemId, usize>> = HashMap::new();
            for id in batch {
                *of_class.entry(label_of[id]).or_default().entry(*id).or_default() += 1;
            }
            for (class, images) in &of_class {
                let size = sizes[*class as usize];
                let expected = if size >= each || repeat { each } else { size };
                prop_assert_eq!(images.values().sum::<usize>(), expected);
                prop_assert!(size >= each || take_all || repeat);
                prop_assert!(size >= least);
                prop_assert!(images.keys().all(|&id| seen.insert(id)), "an image comes twice");
                // As evenly as can be: once each, but for classes that are filled up.
                let times = if size >= each { 1 } else { expected.div_ceil(size) };
                prop_assert!(images.values().all(|&count| count == times || count + 1 == times));
            }
            prop_assert!(batch.len() <= places * each);
            if !take_all {
                prop_assert_eq!(of_class.len(), places);
                prop_assert_eq!(batch.len(), places * each);
            }
            // A place holds one class of `each`, or small ones of more than half as many; only one
            // place in the whole epoch can be emptier, and one of singletons.
            let emptier = 1 + usize::from(singletons);
            prop_assert!(batch.len() > (places - emptier) * each / 2);
            let alone = of_class.keys().filter(|&&class| sizes[class as usize] == 1).count();
            prop_assert!(alone <= places / 2 * each, "{alone} find nothing");
            classes_seen.extend(of_class.into_keys());
        }

        let enough = |size: &&usize| **size >= each || ((take_all || repeat) && **size >= least);
        let drawable = sizes.iter().filter(enough).count();
        let out = sampler.left_out();
        prop_assert_eq!(out.classes, sizes.iter().filter(|&&size| size > 0).count() - drawable);
        if !take_all {
            let of_small = |size: usize| usize::from(repeat && size >= 2);
            let groups: Vec<usize> =
                sizes.iter().map(|&size| (size / each).max(of_small(size))).collect();
            prop_assert_eq!(batches.len(), greedy_steps(&groups, places), "a longer epoch exists");
            // Every class is seen if there is room.
            let room = batches.len() * places;
            prop_assert_eq!(classes_seen.len(), drawable.min(room));
        }
    }

    #[test]
    fn over_the_epochs_every_image_is_seen(seed: u64) {
        let sizes = [7, 5, 4, 9, 6, 4, 11];
        let (ids, labels) = classes(&sizes);
        let sampler = config(8, 4, SmallClasses::LeaveOut, seed).init(&ids, &labels).unwrap();
        let seen: HashSet<_> = (0..60).flat_map(|epoch| sampler.epoch(epoch)).flatten().collect();
        prop_assert_eq!(seen.len(), ids.len());
    }
}
