use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::HubError;

/// Which server, which cache, and how long to wait.
#[derive(Clone)]
#[non_exhaustive]
pub struct HubSettings {
    /// The server, `https://huggingface.co` where the environment names none.
    pub endpoint: String,
    /// The folder that holds `models--OWNER--NAME`.
    pub cache: PathBuf,
    /// Sent to the endpoint, and to no other server that it points at.
    pub token: Option<String>,
    /// Never asks the network.
    pub offline: bool,
    /// Goes through the proxy that `ALL_PROXY`, `HTTPS_PROXY` or `HTTP_PROXY` names, for an endpoint with TLS.
    pub proxy: bool,
    /// How long a connection may take, 10 s by default.
    pub connect_timeout: Duration,
    /// How long a server may be silent, 30 s by default. A transfer as a whole may take any time.
    pub read_timeout: Duration,
    /// How long to wait for another process that holds the same file and receives nothing, 120 s by default.
    pub lock_timeout: Duration,
    /// How often to try without getting on before giving up, 4 by default, at least 1.
    pub attempts: u32,
    /// The wait before the second attempt, 0.5 s by default. Each further one takes twice as long.
    pub backoff: Duration,
}

impl HubSettings {
    /// The defaults, with this server (`http://` or `https://`) and this folder.
    pub fn new(endpoint: impl Into<String>, cache: impl Into<PathBuf>) -> Self {
        Self {
            endpoint: endpoint.into(),
            cache: cache.into(),
            token: None,
            offline: false,
            proxy: false,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(120),
            attempts: 4,
            backoff: Duration::from_millis(500),
        }
    }

    /// What the environment says, read as Python's `huggingface_hub` reads it.
    ///
    /// | variable | |
    /// |---|---|
    /// | `HF_HUB_CACHE` | the folder of the cache |
    /// | `HF_HOME` | without it, the folder that holds `hub`, the cache |
    /// | `XDG_CACHE_HOME` | without both, the folder of `huggingface/hub`, itself `~/.cache` by default |
    /// | `HF_ENDPOINT` | the server |
    /// | `HF_TOKEN` | the token; files that hold one are not read |
    /// | `HF_HUB_OFFLINE` | `1`, `ON`, `YES` or `TRUE`: never asks the network |
    ///
    /// An empty variable counts as none.
    ///
    /// # Errors
    ///
    /// No variable and no home tells where the cache is.
    pub fn from_env() -> Result<Self, HubError> {
        let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let mut settings = Self::from_variables(&variable, home)?;
        settings.proxy = true;
        Ok(settings)
    }

    /// The same with any source of variables.
    fn from_variables(
        variable: &dyn Fn(&str) -> Option<PathBuf>,
        home: Option<PathBuf>,
    ) -> Result<Self, HubError> {
        let folder = |name| {
            let path = variable(name).filter(|path| !path.as_os_str().is_empty())?;
            Some(match (path.strip_prefix("~"), &home) {
                (Ok(rest), Some(home)) => home.join(rest),
                _ => path,
            })
        };
        let text = |name| {
            let text = variable(name)?.to_string_lossy().trim().to_owned();
            (!text.is_empty()).then_some(text)
        };
        let cache = folder("HF_HUB_CACHE")
            .or_else(|| folder("HF_HOME").map(|home| home.join("hub")))
            .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("huggingface/hub")))
            .or_else(|| Some(home.as_ref()?.join(".cache/huggingface/hub")))
            .ok_or_else(|| HubError::Setting {
                setting: "HF_HOME",
                problem:
                    "is not set and there is no home folder: set it to a folder for the cache of \
                          the Hub"
                        .into(),
            })?;

        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        let mut settings = Self::new(endpoint, cache);
        settings.token = text("HF_TOKEN");
        settings.offline = text("HF_HUB_OFFLINE")
            .is_some_and(|text| matches!(&*text.to_ascii_uppercase(), "1" | "ON" | "YES" | "TRUE"));
        Ok(settings)
    }
}

/// Without the token: it has no place in a log.
impl fmt::Debug for HubSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubSettings")
            .field("endpoint", &self.endpoint)
            .field("cache", &self.cache)
            .field("token", &self.token.as_ref().map(|_| "..."))
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)], home: Option<&str>) -> Result<HubSettings, HubError> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(given, _)| *given == name);
            found.map(|(_, value)| PathBuf::from(value))
        };
        HubSettings::from_variables(&variable, home.map(PathBuf::from))
    }

    #[test]
    fn the_cache_is_where_python_has_it() {
        for (variables, cache) in [
            (&[][..], "/home/me/.cache/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/h")], "/h/hub"),
            (
                &[("HF_HOME", "~/h"), ("HF_HUB_CACHE", "")],
                "/home/me/h/hub",
            ),
            (&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c")], "/c"),
        ] {
            let settings = read(variables, Some("/home/me")).unwrap();
            assert_eq!(settings.cache, PathBuf::from(cache));
        }
    }

    #[test]
    fn no_home_is_a_sentence_and_not_a_panic() {
        let message = read(&[], None).unwrap_err().to_string();
        assert!(message.contains("HF_HOME"), "{message}");
    }

    #[test]
    fn server_token_and_offline_are_read_and_the_token_is_not_shown() {
        let settings = read(
            &[
                ("HF_ENDPOINT", "http://mirror"),
                ("HF_TOKEN", " hf_secret\n"),
                ("HF_HUB_OFFLINE", "yes"),
            ],
            Some("/"),
        )
        .unwrap();
        assert_eq!(settings.endpoint, "http://mirror");
        assert_eq!(settings.token.as_deref(), Some("hf_secret"));
        assert!(settings.offline);
        assert!(!format!("{settings:?}").contains("hf_secret"));
        assert!(!read(&[("HF_HUB_OFFLINE", "0")], Some("/")).unwrap().offline);
    }
}
