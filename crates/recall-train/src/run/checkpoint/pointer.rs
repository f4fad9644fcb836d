//! `last` and `best`: small files, each with the name of a checkpoint beside it.
//!
//! Files and not links: network drives and memory cards often have no links, and who copies a run may
//! follow them. Links that an earlier version left, and folders that became of them in a copy, lead to
//! their checkpoint just as well.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::manifest::sync_folder;
use super::name::Name;
use super::{MODEL, STATE, UNFINISHED};
use crate::RunError;

pub(super) const LAST: &str = "last";
pub(super) const BEST: &str = "best";

/// More bytes than any pointer has.
const LONGEST: u64 = 100;

/// Whether `path` is the folder of a checkpoint; whether it is whole is for the manifest to say.
pub(super) fn is_checkpoint(path: &Path) -> bool {
    path.join(STATE).is_file() || path.join(MODEL).is_file()
}

/// The folder of the checkpoint that `path` is or points to, if it is there.
pub(super) fn follow(path: &Path) -> Option<PathBuf> {
    if is_checkpoint(path) {
        return Some(path.to_owned());
    }
    let place = path.parent()?.join(read(path)?.to_string());
    is_checkpoint(&place).then_some(place)
}

/// The name in the pointer `path`.
fn read(path: &Path) -> Option<Name> {
    let mut text = String::new();
    let file = File::open(path).ok()?;
    // Of another file, however large, the beginning says enough.
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    Name::parse(text.trim())
}

/// Makes the pointer `name` in `folder` say `target`, or takes it away. At any moment it says the old
/// or the new.
pub(super) fn write(folder: &Path, name: &str, target: Option<Name>) -> Result<(), RunError> {
    let place = folder.join(name);
    let Some(target) = target else {
        return match fs::remove_file(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(RunError::file("remove", &place)(error))
            }
            _ => Ok(()),
        };
    };
    let next = folder.join(format!("{name}{UNFINISHED}"));
    // A link of this name would be written through.
    let _ = fs::remove_file(&next);
    File::create(&next)
        .and_then(|mut file| {
            file.write_all(format!("{target}\n").as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&next, &place))
        .map_err(RunError::file("write", &place))?;
    sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn a_pointer_says_the_old_or_the_new() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join(LAST);
        let [first, second] = ["step-00000001", "step-00000002"].map(|text| {
            fs::create_dir(dir.path().join(text)).unwrap();
            fs::write(dir.path().join(text).join(STATE), "{}").unwrap();
            dir.path().join(text)
        });
        write(dir.path(), LAST, Some(name("step-00000001"))).unwrap();
        assert_eq!(fs::read_to_string(&place).unwrap(), "step-00000001\n");
        assert_eq!(follow(&place), Some(first.clone()));
        write(dir.path(), LAST, Some(name("step-00000002"))).unwrap();
        assert_eq!(follow(&place), Some(second.clone()));
        assert_eq!(follow(&second), Some(second));
        write(dir.path(), LAST, Some(name("step-00000003"))).unwrap();
        assert_eq!(follow(&place), None);
        for _ in 0..2 {
            write(dir.path(), LAST, None).unwrap();
            assert!(!place.exists());
        }
        // What others left is no pointer.
        for text in ["", "../step-00000001", "step-00000001\nstep-00000002"] {
            fs::write(&place, text).unwrap();
            assert_eq!(follow(&place), None, "{text}");
        }
        fs::write(&place, [0xff; 200]).unwrap();
        assert_eq!(follow(&place), None);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_followed_and_becomes_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join(BEST);
        let first = dir.path().join("step-00000001");
        fs::create_dir(&first).unwrap();
        fs::write(first.join(STATE), "{}").unwrap();
        std::os::unix::fs::symlink("step-00000001", &place).unwrap();
        assert_eq!(follow(&place), Some(place.clone()));
        write(dir.path(), BEST, Some(name("step-00000001"))).unwrap();
        assert!(!place.is_symlink() && first.join(STATE).is_file());
        assert_eq!(follow(&place), Some(first));
    }
}
