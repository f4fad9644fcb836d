use std::io::Cursor;
use std::sync::Arc;

use image::ImageFormat;

use super::*;
use crate::ImageSource;
use crate::{
    BatchRequest, Dataset, EvalTransform, Loader, LoaderConfig, Split, TrainTransform, Transform,
};

fn write_picture(path: &Path, width: u32, height: u32, shade: u8) {
    let image = RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(x * 3) as u8, (y * 5) as u8, ((x * y) as u8) ^ shade])
    });
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, ImageFormat::Png).unwrap();
    fs::write(path, file.into_inner()).unwrap();
}

/// Pictures of 60 x 45, 45 x 60 (with a box of 33 x 44) and 20 x 30.
fn dataset(folder: &Path) -> Arc<Dataset> {
    let items = [(60, 45), (45, 60), (20, 30)].into_iter().enumerate();
    let items = items.map(|(number, (width, height))| {
        let path = folder.join(format!("{number}.png"));
        write_picture(&path, width, height, 0);
        let mut item = Item::new(number.to_string(), ImageSource::File(path), 0, Split::Train);
        if number == 1 {
            item.bbox = Some(BoundingBox::new(7, 5, 40, 49).unwrap());
        }
        item
    });
    Arc::new(Dataset::from_items("files", items.collect(), vec!["a".into()]).unwrap())
}

fn cache(folder: &Path, shorter_side: usize) -> Arc<ImageCache> {
    let folder = folder.join("cache");
    let config = CacheConfig {
        folder,
        shorter_side,
    };
    Arc::new(ImageCache::open(config).unwrap())
}

fn load(
    dataset: &Arc<Dataset>,
    transform: impl Into<Transform>,
    cache: Option<&Arc<ImageCache>>,
) -> Vec<u8> {
    let mut loader = Loader::new(Arc::clone(dataset), transform, LoaderConfig::default()).unwrap();
    if let Some(cache) = cache {
        loader = loader.with_cache(Arc::clone(cache));
    }
    let request = BatchRequest {
        epoch: 0,
        step: 0,
        ids: vec![0, 1, 2],
    };
    loader.load(request).unwrap().pixels().to_vec()
}

const EVAL: EvalTransform = EvalTransform {
    resize: 24,
    crop: 24,
    longest_side: None,
};

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = files(&folder.join("cache")).collect();
    entries.sort();
    entries
}

#[test]
fn a_hit_is_a_miss_pixel_for_pixel() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path());
    let cache = cache(dir.path(), 30);
    let train = TrainTransform {
        size: [16, 16],
        ..TrainTransform::default()
    };
    for transform in [Transform::from(EVAL), train.into()] {
        let miss = load(&dataset, transform.clone(), Some(&cache));
        assert_eq!(load(&dataset, transform, Some(&cache)), miss);
    }
    let stats = cache.stats();
    assert_eq!((stats.stored, stats.hits, stats.damaged), (2, 6, 0));
    assert_eq!(stats.entries, 2, "the third is small");
    let pixels = 3 * 30 * (40 + 40);
    assert!((pixels..pixels + 1_000).contains(&stats.bytes), "{stats}");
    // Without the cache the picture is resized once and not twice; the small one is the same.
    let (with, without) = (
        load(&dataset, EVAL, Some(&cache)),
        load(&dataset, EVAL, None),
    );
    assert_ne!(with, without);
    assert_eq!(with[2 * 3 * 24 * 24..], without[2 * 3 * 24 * 24..]);
    assert!(
        cache
            .image(dataset.item(2).unwrap(), None, true)
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_changed_file_another_box_and_another_size_are_other_entries() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path());
    let cache = cache(dir.path(), 30);
    let item = dataset.item(0).unwrap();
    let first = cache.image(item, None, true).unwrap();
    let bbox = BoundingBox::new(0, 0, 40, 40).unwrap();
    let boxed = cache.image(item, Some(bbox), true).unwrap().unwrap();
    assert_eq!(boxed.dimensions(), (30, 30));
    let smaller = super::tests::cache(dir.path(), 20);
    assert_eq!(
        smaller
            .image(item, None, true)
            .unwrap()
            .unwrap()
            .dimensions(),
        (26, 20)
    );

    let ImageSource::File(path) = &item.source else {
        panic!("it is a file");
    };
    // The same size in bytes or not, at a later time.
    write_picture(path, 60, 45, 255);
    let later = SystemTime::now() + Duration::from_secs(5);
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(later)
        .unwrap();
    assert_ne!(cache.image(item, None, true).unwrap(), first);
    assert_eq!(cache.stats().hits, 0);
    assert_eq!(entries(dir.path()).len(), 4);

    fs::remove_file(path).unwrap();
    assert!(
        cache
            .image(item, None, true)
            .unwrap_err()
            .to_string()
            .contains("0.png")
    );
}

#[test]
fn torn_and_damaged_entries_are_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path());
    let cache = cache(dir.path(), 30);
    let good = load(&dataset, EVAL, Some(&cache));
    let path = entries(dir.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    let mut damaged = vec![
        Vec::new(),
        whole[..10].to_vec(),
        whole[..whole.len() - 1].to_vec(),
    ];
    damaged.push([whole.as_slice(), &[0]].concat());
    for place in [0, 9, 13, 17, 21, 40, whole.len() / 2, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[place] ^= 4;
        damaged.push(flipped);
    }
    for (number, bytes) in damaged.iter().enumerate() {
        fs::write(&path, bytes).unwrap();
        assert_eq!(load(&dataset, EVAL, Some(&cache)), good, "{number}");
        assert_eq!(cache.stats().damaged, number as u64 + 1);
        assert_eq!(fs::read(&path).unwrap(), whole, "{number}");
    }
}

#[test]
fn loaders_and_processes_may_share_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path());
    let alone = load(&dataset, EVAL, Some(&cache(&dir.path().join("other"), 30)));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let own = cache(dir.path(), 30);
                for _ in 0..20 {
                    assert_eq!(load(&dataset, EVAL, Some(&own)), alone);
                }
                assert_eq!(own.stats().damaged, 0);
            });
        }
    });
    assert_eq!(entries(dir.path()).len(), 2, "nothing temporary is left");
}

#[test]
fn a_folder_that_takes_nothing_is_no_end() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path());
    let cache = cache(dir.path(), 30);
    let good = load(&dataset, EVAL, Some(&cache));
    // A file where the folder was refuses what a full disk refuses.
    fs::remove_dir_all(dir.path().join("cache")).unwrap();
    fs::write(dir.path().join("cache"), "full").unwrap();
    assert_eq!(load(&dataset, EVAL, Some(&cache)), good);
    let stats = cache.stats();
    assert!(stats.stopped && stats.entries == 0);
    assert!(stats.to_string().ends_with("writing failed"), "{stats}");

    let config = CacheConfig {
        folder: dir.path().join("cache/below"),
        shorter_side: 30,
    };
    assert!(ImageCache::open(config.clone()).is_err());
    let config = CacheConfig {
        shorter_side: 0,
        ..config
    };
    let error = ImageCache::open(config).unwrap_err();
    assert!(error.to_string().contains("shorter_side"), "{error}");
}

#[test]
fn what_a_crash_left_is_deleted_after_a_day() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("cache/3f");
    fs::create_dir_all(&folder).unwrap();
    let paths = ["old.1.tmp", "new.1.tmp", "old.rgb"].map(|name| folder.join(name));
    for path in &paths {
        fs::write(path, "x").unwrap();
    }
    let old = SystemTime::now() - 2 * ABANDONED;
    for path in [&paths[0], &paths[2]] {
        fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(old)
            .unwrap();
    }
    cache(dir.path(), 30);
    assert_eq!(paths.map(|path| path.exists()), [false, true, true]);
}
