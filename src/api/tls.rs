//! TLS: whom the client trusts.

use super::settings::RootPem;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;
use std::error::Error;
use std::sync::Arc;

/// TLS by ring, the platform's certificates and those that were given, all set explicitly: a library
/// must not lean on a default of the process. Where the root is plain HTTP, on this machine, only
/// what was given is trusted: a proxy may still want TLS.
pub(super) fn config(
    is_https: bool,
    extra_roots: &[RootPem],
) -> Result<rustls::ClientConfig, Box<dyn Error + Send + Sync>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let mut extra = Vec::new();
    for RootPem(pem) in extra_roots {
        let before = extra.len();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            extra.push(certificate?);
        }
        if extra.len() == before {
            return Err("the pem text of a root holds no certificate".into());
        }
    }
    let builder = match is_https {
        true => {
            let verifier = Verifier::new_with_extra_roots(extra, provider)?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
        false => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in extra {
                roots.add(certificate)?;
            }
            builder.with_root_certificates(roots)
        }
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
