//! A private key and the self-signed certificate of its public one. The crate `rsa` finds the
//! primes and does nothing else with them: its signatures take a time that tells of the key
//! (RUSTSEC-2023-0071), so `ring` signs.

use std::fmt::Display;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256,
    PublicKeyData,
};
use rsa::RsaPrivateKey;
use rsa::pkcs8::der::zeroize::Zeroizing;
use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use rsa::rand_core::OsRng;
use rustls::pki_types::PrivatePkcs8KeyDer;

/// What classic load balancers are known to take for authenticating an instance; they are not for
/// elliptic curves.
const BITS: usize = 2048;

const DAY: Duration = Duration::from_hours(24);

/// The longest that strict clients take from an authority of one's own. The property `Renewal`
/// makes a new pair; a year as its value leaves more than a year for the slowest. Load balancers do
/// not look at the dates.
const VALIDITY: Duration = Duration::from_hours(825 * 24);

/// The most that the field takes (`ub-common-name` of RFC 5280). What counts is the alternative
/// name, which is whole.
const COMMON_NAME_LIMIT: usize = 64;

/// Base64 of the public key's DER form, without armour or newlines, as `PublicKey` of a classic
/// load balancer's policy takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicKey(pub(crate) String);

/// A private key, as PEM; wiped from memory when dropped. No `Debug`: it would be logged sooner or
/// later.
pub(crate) struct PrivateKey(Zeroizing<String>);

impl PrivateKey {
    /// For the bucket, and for nothing else.
    pub(crate) fn pem(&self) -> &str {
        &self.0
    }
}

/// All three parts.
pub(crate) struct Pair {
    /// As PEM.
    pub(crate) certificate: String,
    pub(crate) private_key: PrivateKey,
    pub(crate) public_key: PublicKey,
}

impl Pair {
    /// Makes a pair for a host name. Takes a good part of a second.
    pub(crate) fn generate(app_domain: &str) -> Result<Pair, String> {
        let broken = |error: &dyn Display| format!("the key could not be made: {error}");
        let secret = RsaPrivateKey::new(&mut OsRng, BITS).map_err(|error| broken(&error))?;
        let secret = secret.to_pkcs8_der().map_err(|error| broken(&error))?;
        let pem = secret.to_pem("PRIVATE KEY", LineEnding::LF).map_err(|error| broken(&error))?;
        let signed = || -> Result<(String, Vec<u8>), rcgen::Error> {
            let der = PrivatePkcs8KeyDer::from(secret.as_bytes());
            let key = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_RSA_SHA256)?;
            let certificate = parameters(app_domain)?.self_signed(&key)?;
            Ok((certificate.pem(), key.subject_public_key_info()))
        };
        let (certificate, public_key) =
            signed().map_err(|error| format!("the certificate could not be made: {error}"))?;
        let public_key = PublicKey(BASE64_STANDARD.encode(public_key));
        Ok(Pair { certificate, private_key: PrivateKey(pem), public_key })
    }
}

fn parameters(app_domain: &str) -> Result<CertificateParams, rcgen::Error> {
    let now = SystemTime::now();
    let mut parameters = CertificateParams::new(vec![app_domain.to_owned()])?;
    let common_name: String = app_domain.chars().take(COMMON_NAME_LIMIT).collect();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    parameters.key_usages =
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Clocks of instances differ.
    parameters.not_before = (now - DAY).into();
    parameters.not_after = (now + VALIDITY).into();
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    /// What another implementation reads out of it.
    fn openssl(arguments: &[&str], input: &str) -> String {
        let mut child = Command::new("openssl")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the test needs the command `openssl`");
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn body(pem: &str) -> String {
        pem.lines().filter(|line| !line.starts_with("-----")).collect()
    }

    #[test]
    fn a_pair_is_what_openssl_takes_and_its_three_parts_belong_together() {
        let label = "a".repeat(60);
        let domain = format!("{label}.apps.example.com");
        let pair = Pair::generate(&domain).unwrap();
        let of_key = openssl(&["pkey", "-pubout"], pair.private_key.pem());
        let of_certificate = openssl(&["x509", "-noout", "-pubkey"], &pair.certificate);
        assert_eq!(body(&of_key), pair.public_key.0);
        assert_eq!(body(&of_certificate), pair.public_key.0);
        let text = openssl(&["x509", "-noout", "-text"], &pair.certificate);
        for part in [
            format!("DNS:{domain}"),
            format!("CN = {}", &domain[..64]),
            "Public-Key: (2048 bit)".to_owned(),
            "sha256WithRSAEncryption".to_owned(),
            "TLS Web Server Authentication".to_owned(),
        ] {
            assert!(text.contains(&part), "{part}: {text}");
        }
        let day = 24 * 60 * 60;
        openssl(&["x509", "-noout", "-checkend", &(824 * day).to_string()], &pair.certificate);
    }
}
