//! Who may connect: the key that every client must give, and the origins from which pages may.

use axum::http::{HeaderMap, Method, Uri, header};
use subtle::ConstantTimeEq;

/// The key and the origins of a pod.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Key that every client must give; none lets everybody in.
    pub api_key: Option<String>,
    /// Origins beside the pod's own (`https://example.org`, or `*` for all).
    pub allowed_origins: Vec<String>,
}

/// Why somebody may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No key, or a wrong one.
    #[error(
        "this pod needs its key: give it as ?apiKey=…, or in a header as `Authorization: Bearer …` or `X-Api-Key: …`"
    )]
    Key,
    /// A page of an origin that is not allowed.
    #[error("pages of this origin may not use this pod: its operator can list it with --allowed-origins")]
    Origin,
}

impl Access {
    /// Whether a request may pass: it gives the key, and opens a socket or changes something only from an allowed origin.
    ///
    /// # Errors
    /// What it lacks.
    pub fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap, opens_socket: bool) -> Result<(), Denied> {
        if !self.has_key(uri, headers) {
            return Err(Denied::Key);
        }
        let changes_something = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        if (opens_socket || changes_something) && !self.origin_passes(headers) {
            return Err(Denied::Origin);
        }
        Ok(())
    }

    fn has_key(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let Some(key) = &self.api_key else {
            return true;
        };
        let matches = |given: &[u8]| bool::from(given.ct_eq(key.as_bytes()));
        let in_query = uri.query().is_some_and(|query| {
            form_urlencoded::parse(query.as_bytes()).any(|(name, value)| name == "apiKey" && matches(value.as_bytes()))
        });
        let in_header = headers.get("x-api-key").is_some_and(|value| matches(value.as_bytes()));
        in_query || in_header || bearer(headers).is_some_and(matches)
    }

    /// A request without an origin is no page's. A page's own host is compared without its scheme, which a proxy in front may have changed.
    fn origin_passes(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return true;
        };
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let own = host.is_some_and(|host| is_origin_of(origin, host));
        own || self.lists(origin)
    }

    /// Whether an origin is listed.
    #[must_use]
    pub fn lists(&self, origin: &str) -> bool {
        let origin = origin.trim_end_matches('/');
        let same = |listed: &String| listed == "*" || listed.trim_end_matches('/').eq_ignore_ascii_case(origin);
        self.allowed_origins.iter().any(same)
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, key) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| key.trim_ascii())
}

/// Whether an origin names this host and port; a port that its scheme implies may be left out on either side.
fn is_origin_of(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let implied = match scheme.to_ascii_lowercase().as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let bare = |authority: &str| {
        authority
            .strip_suffix(implied)
            .unwrap_or(authority)
            .to_ascii_lowercase()
    };
    bare(authority) == bare(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair =
            |(name, value): &(&'static str, &str)| (header::HeaderName::from_static(name), value.parse().unwrap());
        pairs.iter().map(pair).collect()
    }

    fn checked(access: &Access, uri: &'static str, pairs: &[(&'static str, &str)]) -> Result<(), Denied> {
        access.check(&Method::GET, &Uri::from_static(uri), &headers(pairs), true)
    }

    fn keyed() -> Access {
        Access {
            api_key: Some("se cret&1".into()),
            allowed_origins: Vec::new(),
        }
    }

    #[test]
    fn the_key_is_taken_from_the_query_and_both_headers() {
        let access = keyed();
        for (uri, pairs) in [
            ("/?apiKey=se%20cret%261", &[][..]),
            ("/ws?a=b&apiKey=se+cret%261", &[]),
            ("/", &[("authorization", "Bearer se cret&1")]),
            ("/", &[("authorization", "bearer se cret&1")]),
            ("/", &[("x-api-key", "se cret&1")]),
        ] {
            assert_eq!(checked(&access, uri, pairs), Ok(()), "{uri} {pairs:?}");
        }
    }

    #[test]
    fn without_the_key_nobody_passes() {
        let access = keyed();
        for (uri, pairs) in [
            ("/", &[][..]),
            ("/?apiKey=", &[]),
            ("/?apikey=se%20cret%261", &[]),
            ("/?apiKey=se%20cret%261x", &[]),
            ("/", &[("authorization", "Basic se cret&1")]),
            ("/", &[("authorization", "Bearer")]),
            ("/", &[("x-api-key", "se cret")]),
        ] {
            assert_eq!(checked(&access, uri, pairs), Err(Denied::Key), "{uri} {pairs:?}");
        }
    }

    #[test]
    fn own_and_absent_origins_pass_and_others_must_be_listed() {
        let access = Access {
            api_key: None,
            allowed_origins: vec!["https://studio.example".into()],
        };
        let host = ("host", "pod.example:1318");
        for (origin, expected) in [
            ("http://pod.example:1318", Ok(())),
            ("https://POD.example:1318", Ok(())),
            ("https://studio.example", Ok(())),
            ("https://Studio.example/", Ok(())),
            ("http://studio.example", Err(Denied::Origin)),
            ("http://pod.example", Err(Denied::Origin)),
            ("http://pod.example:1318.evil.example", Err(Denied::Origin)),
            ("null", Err(Denied::Origin)),
            ("file://pod.example:1318", Err(Denied::Origin)),
        ] {
            assert_eq!(checked(&access, "/", &[host, ("origin", origin)]), expected, "{origin}");
        }
        assert_eq!(checked(&access, "/", &[host]), Ok(()));
        assert_eq!(
            checked(&access, "/", &[("origin", "http://pod.example")]),
            Err(Denied::Origin)
        );
        let proxied = [("host", "pod.example"), ("origin", "https://pod.example:443")];
        assert_eq!(checked(&access, "/", &proxied), Ok(()));
    }

    #[test]
    fn a_post_needs_an_allowed_origin_and_a_get_does_not() {
        let foreign = headers(&[("host", "pod.example"), ("origin", "https://evil.example")]);
        let (access, uri) = (Access::default(), Uri::from_static("/api/tracks"));
        assert_eq!(access.check(&Method::GET, &uri, &foreign, false), Ok(()));
        assert_eq!(access.check(&Method::POST, &uri, &foreign, false), Err(Denied::Origin));
        let anybody = Access {
            allowed_origins: vec!["*".into()],
            ..Access::default()
        };
        assert_eq!(anybody.check(&Method::POST, &uri, &foreign, false), Ok(()));
    }
}
