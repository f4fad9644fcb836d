//! Weights that are named by their place on the Hugging Face Hub.

use std::path::{Path, PathBuf};

use super::terminal::Terminal;

/// What begins a name of a file there.
const SCHEME: &str = "hf:";

/// The name on the Hub, if `weights` is one and no path of this machine.
pub(super) fn named(weights: Option<&Path>) -> Option<&str> {
    weights?.to_str().filter(|name| name.starts_with(SCHEME))
}

/// The file of that name, fetched unless it is here.
///
/// # Errors
///
/// A name that makes no sense, and a file that cannot be fetched.
#[cfg(feature = "hub")]
pub(super) fn fetched(name: &str, terminal: &mut Terminal) -> anyhow::Result<PathBuf> {
    use recall_hub::{Hub, HubSpec};

    let spec: HubSpec = name.parse()?;
    let fetched = Hub::from_env()?.fetch(&spec, &mut |done, total| terminal.bytes(done, total))?;
    terminal.counting_done();
    terminal.say(&format!(
        "weights: {} of {}, commit {}{}",
        fetched.file,
        spec.repository(),
        fetched.commit,
        match fetched.from_cache {
            true => ", from the cache",
            false => "",
        }
    ));
    Ok(fetched.path)
}

/// This command was built without what fetches.
///
/// # Errors
///
/// Always.
#[cfg(not(feature = "hub"))]
pub(super) fn fetched(name: &str, _: &mut Terminal) -> anyhow::Result<PathBuf> {
    anyhow::bail!(
        "{name} is a file of the Hugging Face Hub, and this command was built without the feature hub: fetch it by \
         other means and give its path"
    )
}
