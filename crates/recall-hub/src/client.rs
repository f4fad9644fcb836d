use ureq::{Agent, AgentBuilder, ErrorKind, OrAnyStatus as _, Response};
use url::Url;

use crate::names::one_line;
use crate::retry::Trouble;
use crate::{HubError, HubSettings, HubSpec};

/// Speaks HTTP to the endpoint and to the servers that it points at.
pub(crate) struct Client {
    agent: Agent,
    endpoint: Url,
    token: Option<String>,
}

impl Client {
    pub(crate) fn new(settings: &HubSettings) -> Result<Self, HubError> {
        let endpoint = Url::parse(&settings.endpoint)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .filter(|url| url.query().is_none() && url.fragment().is_none())
            .filter(|url| url.username().is_empty() && url.password().is_none())
            .ok_or_else(|| HubError::Setting {
                setting: "HF_ENDPOINT",
                problem: format!(
                    "is `{}`: it must be an address such as https://huggingface.co",
                    one_line(&settings.endpoint)
                ),
            })?;
        let token = settings.token.clone();
        // Anything else would become an error of the header that shows the token.
        if token
            .as_ref()
            .is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(HubError::Setting {
                setting: "HF_TOKEN",
                problem: "has a space or another character that no token has: copy it again".into(),
            });
        }
        let agent = AgentBuilder::new()
            // Followed by hand, so that it is plain which server sees the token.
            .redirects(0)
            .timeout_connect(settings.connect_timeout)
            .timeout_read(settings.read_timeout)
            .timeout_write(settings.read_timeout)
            .try_proxy_from_env(settings.proxy && endpoint.scheme() == "https")
            .user_agent(concat!("recall-hub/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self {
            agent,
            endpoint,
            token,
        })
    }

    /// An address of the endpoint. Each part is one segment, whatever is in it.
    pub(crate) fn url<'a>(&self, parts: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.endpoint.clone();
        // An address with a host always has segments.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(parts);
        }
        url
    }

    /// Where a file of this revision is.
    pub(crate) fn file_url(&self, spec: &HubSpec, revision: &str) -> Url {
        let file = spec.file().unwrap_or_default().split('/');
        self.url(
            spec.repository()
                .split('/')
                .chain(["resolve", revision])
                .chain(file),
        )
    }

    /// The page of what is asked for, for a person: of its file where one is named.
    pub(crate) fn page(&self, spec: &HubSpec) -> String {
        match spec.file() {
            Some(_) => self.file_url(spec, spec.revision_or_main()).into(),
            None => self.url(spec.repository().split('/')).into(),
        }
    }

    /// Whether an address belongs to the endpoint: the same scheme, host and port.
    pub(crate) fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.endpoint.origin()
    }

    /// One request. No redirect is followed, and any status is an answer.
    ///
    /// `from` asks for the bytes from there to the end.
    pub(crate) fn send(
        &self,
        spec: &HubSpec,
        method: &str,
        url: &Url,
        from: Option<u64>,
    ) -> Result<Response, Trouble> {
        let mut request = self
            .agent
            .request_url(method, url)
            // Lengths and checksums are of the file, not of a compressed form.
            .set("Accept-Encoding", "identity");
        if let Some(token) = self.token.as_ref().filter(|_| self.is_own(url)) {
            request = request.set("Authorization", &format!("Bearer {token}"));
        }
        if let Some(from) = from {
            request = request.set("Range", &format!("bytes={from}-"));
        }
        request.call().or_any_status().map_err(|error| {
            let reason = format!("{}: {}", host(url), reason(&error));
            match error.kind() {
                ErrorKind::Dns
                | ErrorKind::ConnectionFailed
                | ErrorKind::Io
                | ErrorKind::ProxyConnect => Trouble::Passing(reason),
                _ => self.bad_answer(spec, reason).into(),
            }
        })
    }

    /// Where a redirect leads; none if this is none.
    pub(crate) fn redirect(
        &self,
        spec: &HubSpec,
        url: &Url,
        answer: &Response,
    ) -> Result<Option<Url>, HubError> {
        if !matches!(answer.status(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let problem = |what| self.bad_answer(spec, format!("{} redirects {what}", host(url)));
        let location = answer
            .header("Location")
            .ok_or_else(|| problem("to nowhere"))?;
        let next = url.join(location).map_err(|_| problem("to no address"))?;
        if !next.has_host() || !matches!(next.scheme(), "http" | "https") {
            return Err(problem("to no address of HTTP"));
        }
        if url.scheme() == "https" && next.scheme() != "https" {
            return Err(problem("from https to http"));
        }
        Ok(Some(next))
    }

    /// An error for every status of an error.
    pub(crate) fn check(
        &self,
        spec: &HubSpec,
        url: &Url,
        answer: &Response,
    ) -> Result<(), Trouble> {
        let status = answer.status();
        if status < 400 {
            return Ok(());
        }
        let host = host(url);
        // An address of a storage server expires, and the endpoint gives a new one.
        if !self.is_own(url) || matches!(status, 408 | 429 | 500..) {
            return Err(Trouble::Passing(format!("{host} answers {status}")));
        }
        let what = spec.to_string();
        let url = String::from(self.url(spec.repository().split('/')));
        let repository = || format!("repository `{}`", spec.repository());
        let revision = || {
            format!(
                "revision `{}` of {}",
                spec.revision_or_main(),
                spec.repository()
            )
        };
        Err(Trouble::Lasting(match status {
            401 | 403 => HubError::Refused {
                what,
                host,
                status,
                url,
                token: match self.token {
                    Some(_) => "check that HF_TOKEN is valid and may read it",
                    None => "set HF_TOKEN to a token that may read it",
                },
            },
            404 => HubError::NotFound {
                what,
                host,
                missing: match (answer.header("X-Error-Code"), spec.file()) {
                    (Some("RepoNotFound"), _) => repository(),
                    (Some("RevisionNotFound"), _) => revision(),
                    (Some("EntryNotFound"), Some(file)) => {
                        format!("file `{file}` in {}", spec.repository())
                    }
                    (_, Some(file)) => format!("{}, or no file `{file}` in it", revision()),
                    (_, None) => format!("{}, or no {}", repository(), revision()),
                },
                url,
            },
            _ => {
                let text = answer.header("X-Error-Message").unwrap_or_default();
                let problem = format!("{host} answers {status} {text}");
                self.bad_answer(spec, one_line(&problem))
            }
        }))
    }

    /// For an answer of which nothing can be made.
    pub(crate) fn bad_answer(&self, spec: &HubSpec, problem: String) -> HubError {
        HubError::Answer {
            what: spec.to_string(),
            problem,
            url: self.page(spec),
        }
    }
}

/// The name of a server, with its port if it has one of its own.
pub(crate) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// What happened, without the address: that of a storage server is a secret for as long as it is valid.
fn reason(error: &ureq::Transport) -> String {
    let mut text = error.kind().to_string();
    let source = std::error::Error::source(error).map(ToString::to_string);
    for part in error.message().map(str::to_owned).into_iter().chain(source) {
        text = format!("{text}: {part}");
    }
    one_line(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_segment_of_an_address() {
        let spec: HubSpec = "hf:o/n@refs%2Fpr%2F1/a b/c#?%2F\u{e9}.bin".parse().unwrap();
        for endpoint in ["http://mirror:8080/hub", "http://mirror:8080/hub/"] {
            let client = Client::new(&HubSettings::new(endpoint, "")).unwrap();
            assert_eq!(
                client.page(&spec),
                "http://mirror:8080/hub/o/n/resolve/refs%2Fpr%2F1/a%20b/c%23%3F%252F%C3%A9.bin"
            );
        }
    }

    #[test]
    fn only_the_same_scheme_host_and_port_are_its_own() {
        let client = Client::new(&HubSettings::new("https://hub.example", "")).unwrap();
        for (url, own) in [
            ("https://hub.example:443/x", true),
            ("https://hub.example:444/x", false),
            ("http://hub.example/x", false),
            ("https://hub.example.evil/x", false),
        ] {
            assert_eq!(client.is_own(&url.parse().unwrap()), own, "{url}");
        }
    }

    #[test]
    fn a_redirect_never_leaves_tls() {
        let client = Client::new(&HubSettings::new("https://hub.example", "")).unwrap();
        let spec = "hf:o/n/x".parse().unwrap();
        let url = client.page(&spec).parse().unwrap();
        let lead = |to: &str| {
            let answer = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\n\r\n");
            client.redirect(&spec, &url, &answer.parse().unwrap())
        };
        assert!(lead("https://storage.example/x").is_ok_and(|next| next.is_some()));
        assert!(lead("/other").is_ok_and(|next| next.is_some_and(|next| client.is_own(&next))));
        for to in ["http://storage.example/x", "file:///etc/passwd", "https://"] {
            assert!(lead(to).is_err(), "{to}");
        }
    }
}
