//! Runs that are begun, stopped, continued and ended.

use std::fs;

use tempfile::tempdir;

use crate::support::{class_folders, command, picture, refuse, succeed, tiny};

/// `metrics.jsonl` would mix what was judged on two sets of test images.
#[test]
fn a_test_image_that_was_added_is_named_before_a_run_goes_on() {
    let dir = tempdir().unwrap();
    class_folders(&dir.path().join("photos/train"), 0..4, 4);
    class_folders(&dir.path().join("photos/test"), 4..7, 3);
    let arguments = ["--data", "folder:photos", "--out", "run", "--quiet"];
    succeed(&mut tiny(dir.path(), &arguments));
    let added = dir.path().join("photos/test/class-04/new.png");
    picture(&added, 4, 7);
    let resume = ["--backend", "flex", "--resume", "run"];
    let message = refuse(&mut command(dir.path(), &resume));
    let said = "1 test image was added (class-04/new.png)";
    assert!(message.contains(said), "{message}");
    fs::remove_file(added).unwrap();
    succeed(&mut command(dir.path(), &resume));
}
