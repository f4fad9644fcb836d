use std::io::Cursor;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use image::{ImageFormat, RgbImage};

use super::*;
use crate::{
    ColourJitter, EvalTransform, ImageSource, Item, RandomResizedCrop, RatioTransform, Split,
    TrainTransform, WholeTransform,
};

fn picture(number: u32) -> Vec<u8> {
    let image = RgbImage::from_fn(20 + number % 5, 17, |x, y| {
        image::Rgb([
            (x * 9 + number * 31) as u8,
            (y * 13) as u8,
            (x * y + number) as u8,
        ])
    });
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, ImageFormat::Png).unwrap();
    file.into_inner()
}

/// Images in files, the ones in `broken` cut short.
fn dataset(dir: &Path, count: u32, broken: &[u32]) -> Arc<Dataset> {
    let items = (0..count).map(|number| {
        let path = dir.join(format!("{number}.png"));
        let mut bytes = picture(number);
        if broken.contains(&number) {
            bytes.truncate(40);
        }
        std::fs::write(&path, bytes).unwrap();
        Item::new(
            number.to_string(),
            ImageSource::File(path),
            number % 3,
            Split::Train,
        )
    });
    let names = ["a", "b", "c"].map(String::from).to_vec();
    Arc::new(Dataset::from_items("files", items.collect(), names).unwrap())
}

fn train() -> TrainTransform {
    TrainTransform {
        size: [8, 12],
        random_resized_crop: Some(RandomResizedCrop::default()),
        horizontal_flip: 0.5,
        colour_jitter: Some(ColourJitter {
            brightness: 0.4,
            contrast: 0.4,
            saturation: 0.4,
            ..ColourJitter::default()
        }),
        ..TrainTransform::default()
    }
}

fn eval() -> EvalTransform {
    EvalTransform {
        resize: 10,
        crop: 8,
        longest_side: None,
    }
}

fn requests(steps: u64, count: usize) -> Vec<BatchRequest> {
    (0..steps)
        .map(|step| BatchRequest {
            epoch: 1,
            step,
            ids: (0..count).collect(),
        })
        .collect()
}

#[test]
fn parts_of_a_batch_are_as_in_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let loader = Loader::new(
        dataset(dir.path(), 3, &[]),
        train(),
        LoaderConfig::default(),
    )
    .unwrap();
    // Copies on both sides of a cut.
    let request = BatchRequest {
        epoch: 1,
        step: 2,
        ids: vec![1, 0, 1, 1, 2],
    };
    let whole = loader.load(request.clone()).unwrap();
    let parts = [0..2, 2..2, 2..5].map(|part| (request.clone(), part));
    let parts: Vec<Batch> = loader.parts(parts).map(Result::unwrap).collect();
    assert_eq!(parts[1].shape(), [0, 3, 8, 12]);
    let ids = parts.iter().flat_map(|part| part.ids.clone());
    assert!(ids.eq(whole.ids.clone()));
    let pixels = parts.iter().flat_map(|part| part.pixels().to_vec());
    assert!(pixels.eq(whole.pixels().to_vec()));

    let mut beyond = loader.parts([(request, 3..6)]);
    let refused = beyond.next().unwrap().unwrap_err().to_string();
    assert!(refused.contains("3..6"), "{refused}");
}

#[test]
fn copies_of_an_image_in_a_batch_are_augmented_each_in_its_way() {
    let dir = tempfile::tempdir().unwrap();
    let loader = Loader::new(
        dataset(dir.path(), 3, &[]),
        train(),
        LoaderConfig::default(),
    )
    .unwrap();
    let load = |ids: &[ItemId]| {
        let request = BatchRequest {
            epoch: 1,
            step: 2,
            ids: ids.to_vec(),
        };
        loader.load(request).unwrap().pixels().to_vec()
    };
    let pixels = load(&[1, 0, 1, 1]);
    let images: Vec<&[u8]> = pixels.chunks(pixels.len() / 4).collect();
    assert_ne!(images[0], images[2]);
    assert_ne!(images[2], images[3]);
    // What the first copy looks like does not depend on there being others.
    assert_eq!(images[0], load(&[1]));
    assert_eq!(
        images[1],
        load(&[2, 0, 1])[pixels.len() / 4..][..pixels.len() / 4].to_vec()
    );
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path(), 23, &[]);
    let load = |threads, prefetch| -> Vec<Batch> {
        let config = LoaderConfig {
            threads,
            prefetch,
            seed: 5,
            ..LoaderConfig::default()
        };
        let loader = Loader::new(Arc::clone(&dataset), train(), config).unwrap();
        loader
            .batches(requests(4, 23))
            .map(Result::unwrap)
            .collect()
    };
    let one = load(1, 1);
    assert_eq!(one.len(), 4);
    assert_eq!(one[0].shape(), [23, 3, 8, 12]);
    assert_eq!(one[0].pixels().len(), 23 * 3 * 8 * 12);
    assert_eq!(one[0].labels[..4], [0, 1, 2, 0]);
    assert_ne!(one[0].pixels(), one[1].pixels(), "each step augments anew");
    for (threads, prefetch) in [(2, 1), (5, 3), (0, 2)] {
        assert_eq!(load(threads, prefetch), one);
    }
}

#[test]
fn an_image_depends_on_its_place_in_the_run_alone() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path(), 6, &[]);
    let loader = |seed| {
        let config = LoaderConfig {
            threads: 2,
            seed,
            ..LoaderConfig::default()
        };
        Loader::new(Arc::clone(&dataset), train(), config).unwrap()
    };
    let load = |seed, epoch, step, ids: &[ItemId]| {
        loader(seed)
            .load(BatchRequest {
                epoch,
                step,
                ids: ids.to_vec(),
            })
            .unwrap()
            .pixels()
            .to_vec()
    };
    let image = 3 * 8 * 12;
    let base = load(0, 0, 0, &[0, 1, 2]);
    assert_eq!(
        load(0, 0, 0, &[2, 0])[..image],
        base[2 * image..],
        "not of its neighbours"
    );
    for other in [
        load(1, 0, 0, &[0]),
        load(0, 1, 0, &[0]),
        load(0, 0, 1, &[0]),
    ] {
        assert_ne!(other, base[..image]);
    }
}

#[test]
fn files_and_embedded_bytes_are_treated_alike() {
    let dir = tempfile::tempdir().unwrap();
    let files = dataset(dir.path(), 3, &[]);
    let items = files.items().iter().map(|item| {
        let bytes = item.encoded_bytes().unwrap().into_owned().leak();
        Item {
            source: ImageSource::Embedded(bytes),
            ..item.clone()
        }
    });
    let embedded =
        Dataset::from_items("embedded", items.collect(), files.class_names().to_vec()).unwrap();
    let load = |dataset| {
        let loader = Loader::new(dataset, eval(), LoaderConfig::default()).unwrap();
        loader.batches(requests(1, 3)).next().unwrap().unwrap()
    };
    assert_eq!(load(Arc::new(embedded)), load(files));
}

#[test]
fn a_corrupt_file_is_named_and_ends_the_batches() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path(), 9, &[4, 7]);
    let loader = Loader::new(dataset, eval(), LoaderConfig::default()).unwrap();
    let mut batches = loader.batches([(0..4), (0..9), (0..4)].map(|ids| BatchRequest {
        epoch: 0,
        step: 0,
        ids: ids.collect(),
    }));
    assert!(batches.next().unwrap().is_ok());
    let message = batches.next().unwrap().unwrap_err().to_string();
    assert!(
        message.contains("4.png"),
        "the first one in the batch: {message}"
    );
    assert!(batches.next().is_none());
    assert!(batches.next().is_none());
}

#[test]
fn a_corrupt_file_can_be_skipped_and_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path(), 9, &[0, 4, 8]);
    std::fs::remove_file(dir.path().join("5.png")).unwrap();
    let config = LoaderConfig {
        corrupt: CorruptPolicy::Skip,
        ..LoaderConfig::default()
    };
    let loader = Loader::new(dataset, eval(), config).unwrap();
    let load = |ids: &[ItemId]| {
        loader
            .load(BatchRequest {
                epoch: 0,
                step: 0,
                ids: ids.to_vec(),
            })
            .unwrap()
    };
    let batch = load(&[0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(batch.ids, [1, 2, 3, 6, 7]);
    let skipped: Vec<ItemId> = batch.skipped.iter().map(|skipped| skipped.id).collect();
    assert_eq!(skipped, [0, 4, 5, 8]);
    assert!(batch.skipped[2].problem.contains("5.png"), "a missing file");
    assert_eq!(batch.labels, [1, 2, 0, 0, 1]);
    assert_eq!(batch.shape(), [5, 3, 8, 8]);
    assert_eq!(batch.pixels(), load(&[1, 2, 3, 6, 7]).pixels());
    assert_eq!(load(&[0, 4]).shape(), [0, 3, 8, 8]);
    assert_eq!(load(&[]).skipped, []);
}

#[test]
fn an_unknown_item_is_an_error_whatever_the_policy() {
    let dir = tempfile::tempdir().unwrap();
    let config = LoaderConfig {
        corrupt: CorruptPolicy::Skip,
        ..LoaderConfig::default()
    };
    let loader = Loader::new(dataset(dir.path(), 2, &[]), eval(), config).unwrap();
    let error = loader
        .load(BatchRequest {
            epoch: 0,
            step: 0,
            ids: vec![1, 2],
        })
        .unwrap_err();
    assert!(error.to_string().contains("no item 2"), "{error}");
}

#[test]
fn no_more_requests_are_pulled_than_there_is_room_for() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path(), 4, &[]);
    for prefetch in [1, 3] {
        let pulled = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&pulled);
        let counted = requests(40, 4).into_iter().inspect(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        let config = LoaderConfig {
            prefetch,
            ..LoaderConfig::default()
        };
        let mut batches = Loader::new(Arc::clone(&dataset), eval(), config)
            .unwrap()
            .batches(counted);
        for taken in 1..=5 {
            batches.next().unwrap().unwrap();
            // Time enough to run ahead, if nothing held it back.
            std::thread::sleep(Duration::from_millis(30));
            assert!(pulled.load(Ordering::SeqCst) <= taken + prefetch);
        }
    }
}

#[test]
fn dropping_the_batches_early_stops_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path(), 4, &[]);
    let loader = Loader::new(dataset, eval(), LoaderConfig::default()).unwrap();
    let start = Instant::now();
    // Before the first batch, waiting to hand one over, and within a batch that would take minutes.
    drop(loader.batches(requests(1000, 4)));
    let mut waiting = loader.batches(requests(1000, 4));
    waiting.next().unwrap().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    drop(waiting);
    let long = BatchRequest {
        epoch: 0,
        step: 0,
        ids: vec![0; 1_000_000],
    };
    let within = loader.batches([long]);
    std::thread::sleep(Duration::from_millis(50));
    drop(within);
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
    // The loader is as good as new.
    assert_eq!(loader.batches(requests(3, 4)).count(), 3);
}

#[test]
#[should_panic(expected = "the caller's own")]
fn a_panic_of_the_requests_is_not_taken_for_their_end() {
    let dir = tempfile::tempdir().unwrap();
    let loader = Loader::new(dataset(dir.path(), 2, &[]), eval(), LoaderConfig::default()).unwrap();
    let requests = requests(3, 2).into_iter().inspect(|request| {
        assert!(request.step < 2, "the caller's own");
    });
    loader
        .batches(requests)
        .for_each(|batch| assert!(batch.is_ok()));
}

#[test]
fn settings_that_make_no_loader_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path(), 1, &[]);
    let config = LoaderConfig {
        prefetch: 0,
        ..LoaderConfig::default()
    };
    let error = Loader::new(Arc::clone(&dataset), eval(), config).unwrap_err();
    assert!(error.to_string().contains("prefetch is 0"), "{error}");
    let transform = EvalTransform {
        resize: 4,
        crop: 8,
        longest_side: None,
    };
    let error = Loader::new(dataset, transform, LoaderConfig::default()).unwrap_err();
    assert!(error.to_string().contains("crop"), "{error}");
}

#[test]
fn images_that_keep_their_shapes_come_by_shape_with_their_places() {
    let dir = tempfile::tempdir().unwrap();
    // Widths 20 to 24 again and again, one file cut short.
    let dataset = dataset(dir.path(), 12, &[3]);
    let load = |threads| {
        let config = LoaderConfig {
            threads,
            corrupt: CorruptPolicy::Skip,
            ..LoaderConfig::default()
        };
        let loader = Loader::new(Arc::clone(&dataset), WholeTransform::new(22), config).unwrap();
        let request = BatchRequest {
            epoch: 0,
            step: 0,
            ids: vec![5, 1, 3, 0, 2, 7, 5, 4],
        };
        loader.load(request).unwrap()
    };
    let batch = load(1);
    assert_eq!(batch, load(4));
    assert_eq!(batch.ids, [5, 1, 0, 2, 7, 5, 4]);
    assert_eq!(batch.skipped.len(), 1);
    assert_eq!(batch.shape(), [7, 3, 0, 0]);
    assert!(batch.pixels().is_empty());
    let BatchInputs::Shapes(groups) = &batch.inputs else {
        panic!("images keep their shapes");
    };
    let shapes: Vec<_> = (groups.iter())
        .map(|group| (group.places.clone(), group.shape))
        .collect();
    // The image of 24 x 17 becomes 22 x 16.
    assert_eq!(
        shapes,
        [
            (vec![0, 2, 5], [3, 3, 17, 20]),
            (vec![1], [1, 3, 17, 21]),
            (vec![3, 4], [2, 3, 17, 22]),
            (vec![6], [1, 3, 16, 22]),
        ]
    );
    for group in groups {
        let image = group.bytes.len() / group.places.len();
        for (bytes, &place) in group.bytes.chunks(image).zip(&group.places) {
            let alone = dataset.pixels(batch.ids[place]).unwrap();
            assert_eq!(bytes, WholeTransform::new(22).apply(&alone).unwrap());
        }
    }
    // A part of a batch, and an empty one.
    let loader = Loader::new(
        Arc::clone(&dataset),
        WholeTransform::new(22),
        LoaderConfig::default(),
    )
    .unwrap();
    let request = BatchRequest {
        epoch: 0,
        step: 0,
        ids: vec![5, 1],
    };
    let parts: Vec<_> = loader
        .parts([(request.clone(), 1..2), (request, 1..1)])
        .map(|batch| batch.unwrap().ids)
        .collect();
    assert_eq!(parts, [vec![1], vec![]]);
}

/// Pictures of these widths and heights.
fn of_sizes(dir: &Path, sizes: &[(u32, u32)]) -> Arc<Dataset> {
    let items = sizes.iter().zip(0..).map(|(&(width, height), number)| {
        let path = dir.join(format!("{number}.png"));
        let pixel = |x: u32, y: u32| image::Rgb([(3 * x) as u8, (5 * y) as u8, number]);
        let image = RgbImage::from_fn(width, height, pixel);
        image.save(&path).unwrap();
        let source = ImageSource::File(path);
        Item::new(
            number.to_string(),
            source,
            u32::from(number) / 2,
            Split::Train,
        )
    });
    let names = ["a", "b", "c"].map(String::from).to_vec();
    Arc::new(Dataset::from_items("sizes", items.collect(), names).unwrap())
}

#[test]
fn images_that_keep_their_ratio_come_sorted_by_shape_and_square_ones_as_ever() {
    let folder = tempfile::tempdir().unwrap();
    let sizes = [(40, 30), (30, 30), (30, 40), (50, 50), (80, 60), (9, 9)];
    let dataset = of_sizes(folder.path(), &sizes);
    let ids = dataset.split(Split::Train);
    let train = TrainTransform {
        size: [24, 24],
        ..train()
    };
    let transform = RatioTransform::new(train.clone());
    let area = 24 * 24_usize;
    let load = |transform: Transform, threads, part: std::ops::Range<usize>| {
        let config = LoaderConfig {
            threads,
            ..LoaderConfig::default()
        };
        let loader = Loader::new(Arc::clone(&dataset), transform, config).unwrap();
        let request = BatchRequest {
            epoch: 1,
            step: 2,
            ids: ids.to_vec(),
        };
        loader.parts([(request, part)]).next().unwrap().unwrap()
    };
    let batch = load(transform.clone().into(), 1, 0..6);
    assert_eq!(load(transform.clone().into(), 3, 0..6), batch);
    let BatchInputs::Shapes(groups) = &batch.inputs else {
        panic!("they have shapes of their own");
    };
    let places = groups.iter().flat_map(|group| group.places.iter().copied());
    assert_eq!(places.collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    let mut seen = Vec::new();
    for group in groups {
        let [count, _, height, width] = group.shape;
        assert!(
            (height * width).abs_diff(area) * 10 < area,
            "{height} x {width}"
        );
        seen.push((count, height.cmp(&width)));
    }
    use std::cmp::Ordering::{Equal, Greater, Less};
    assert_eq!(seen, [(2, Less), (3, Equal), (1, Greater)]);
    assert_eq!(batch.labels, dataset.labels(&batch.ids));

    // The same generator draws for an item, whatever its shape and whatever is loaded with it.
    let square = load(train.into(), 2, 0..6);
    let bytes = |id| {
        let place = square.ids.iter().position(|&other| other == id).unwrap();
        &square.pixels()[3 * area * place..3 * area * (place + 1)]
    };
    for (&place, image) in groups[1]
        .places
        .iter()
        .zip(groups[1].bytes.chunks(3 * area))
    {
        assert_eq!(image, bytes(batch.ids[place]));
    }
    let part = load(transform.into(), 1, 1..2);
    assert_eq!(part.ids, [ids[1]]);
    let BatchInputs::Shapes(alone) = &part.inputs else {
        panic!("it has a shape of its own");
    };
    assert_eq!(alone[0].bytes, bytes(ids[1]));
}
