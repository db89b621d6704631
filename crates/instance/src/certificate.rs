//! The certificate between load balancer and instance, with its private key.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde::Deserialize;

/// As it lies in the bucket. No `Debug`: the key would be logged sooner or later.
#[derive(Deserialize)]
pub(crate) struct Certificate {
    certificate: String,
    private_key: String,
}

impl Certificate {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Certificate> {
        // The parser's own words could repeat what it read.
        serde_json::from_slice(bytes).ok()
    }

    /// How TLS is spoken with it: 1.2 or 1.3.
    pub(crate) fn tls(&self) -> Result<Arc<ServerConfig>, String> {
        let key = PrivateKeyDer::from_pem_slice(self.private_key.as_bytes())
            .map_err(|_| "its private key is not in PEM form".to_owned())?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_single_cert(self.chain()?, key)
            .map_err(|error| error.to_string())?;
        Ok(Arc::new(config))
    }

    /// How somebody speaks to it who knows this certificate, and no other.
    pub(crate) fn client(&self) -> Result<Arc<ClientConfig>, String> {
        let mut known = RootCertStore::empty();
        for certificate in self.chain()? {
            known.add(certificate).map_err(|error| error.to_string())?;
        }
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(known)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        CertificateDer::pem_slice_iter(self.certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| "it is not in PEM form".to_owned())
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
