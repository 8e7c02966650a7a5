//! Method and target in the one form in which they are signed (PROTOCOL section 3).

use std::borrow::Cow;

/// The target as it is signed: scheme, host and fragment off; an empty path is `/`, an empty
/// query is dropped, percent-escapes stay as they are sent.
///
/// Takes a whole URL or what follows the host. Borrows what it can, which is all but a query
/// without a path.
///
/// ```
/// use bitgo_vault::crypto::canonical_target;
/// assert_eq!(canonical_target("https://app.bitgo.com/api/v2/x?q=a%20b"), "/api/v2/x?q=a%20b");
/// assert_eq!(canonical_target("https://app.bitgo.com"), "/");
/// assert_eq!(canonical_target("/api/v2/x?"), "/api/v2/x");
/// ```
pub fn canonical_target(url_or_target: &str) -> Cow<'_, str> {
    // The usual case: a path has no scheme before it, and of its queries only one that ends where it
    // begins is empty. A search that stops early would cost it a tenth of the signature.
    let has_fragment = url_or_target.bytes().fold(false, |found, b| found | (b == b'#'));
    if url_or_target.starts_with('/') && !has_fragment && !url_or_target.ends_with('?') {
        return Cow::Borrowed(url_or_target);
    }
    let target = without_origin(url_or_target);
    let target = target.split_once('#').map_or(target, |(target, _fragment)| target);
    let target = match target.split_once('?') {
        Some((path, "")) => path,
        _ => target,
    };
    match target {
        "" => Cow::Borrowed("/"),
        target if target.starts_with('?') => Cow::Owned(format!("/{target}")),
        target => Cow::Borrowed(target),
    }
}

fn without_origin(url: &str) -> &str {
    match url.split_once("://") {
        // A scheme has none of these; where one stands, `://` is part of the path or query.
        Some((scheme, rest)) if !scheme.contains(['/', '?', '#']) => {
            rest.find(['/', '?', '#']).map_or("", |end| &rest[end..])
        }
        _ => url,
    }
}

/// The method as it is signed: upper case, and BitGo's `del` is `DELETE`.
pub fn canonical_method(method: &str) -> Cow<'_, str> {
    if method == "del" {
        Cow::Borrowed("DELETE")
    } else if method.bytes().any(|b| b.is_ascii_lowercase()) {
        Cow::Owned(method.to_ascii_uppercase())
    } else {
        Cow::Borrowed(method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_made_canonical() {
        for (input, expect) in [
            ("https://app.bitgo-test.com", "/"),
            ("https://app.bitgo-test.com/", "/"),
            ("https://app.bitgo-test.com?x=1", "/?x=1"),
            ("https://app.bitgo-test.com/api/v2/user/session?", "/api/v2/user/session"),
            ("http://127.0.0.1:4000/a?b=c#d", "/a?b=c"),
            ("https://h/%C3%BC?q=a%20b%2Fc", "/%C3%BC?q=a%20b%2Fc"),
            ("/login?next=https://h/x", "/login?next=https://h/x"),
            ("/a?b?", "/a?b?"),
            ("/a?b=c", "/a?b=c"),
            ("/a??", "/a??"),
            ("/a?b#", "/a?b"),
            ("/a?#b", "/a"),
            ("", "/"),
        ] {
            assert_eq!(canonical_target(input), expect, "{input}");
        }
    }

    #[test]
    fn methods_are_made_canonical() {
        for (input, expect) in
            [("del", "DELETE"), ("delete", "DELETE"), ("get", "GET"), ("PATCH", "PATCH")]
        {
            assert_eq!(canonical_method(input), expect);
        }
        assert!(matches!(canonical_method("POST"), Cow::Borrowed(_)));
    }
}
