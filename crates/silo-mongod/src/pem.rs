//! Certificates and keys in PEM: read, compared, made.

use openssl::asn1::{Asn1Time, TimeDiff};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Name, X509VerifyResult};

/// Validity of a self-signed certificate in days; Caddy's replaces it long before.
const OWN_DAYS: u32 = 365;

/// A certificate with its chain, and its key.
pub struct Pair {
    chain: Vec<X509>,
    key: PKey<Private>,
}

impl Pair {
    /// Reads both; `None` when they do not belong together, as when one was replaced and the other not yet.
    ///
    /// # Errors
    /// When either cannot be read.
    pub fn read(chain: &[u8], key: &[u8]) -> Result<Option<Self>, ErrorStack> {
        let (chain, key) = (
            X509::stack_from_pem(chain)?,
            PKey::private_key_from_pem(key)?,
        );
        let key_matches = match chain.first() {
            Some(first) => first.public_key()?.public_eq(&key),
            None => false,
        };
        Ok(key_matches.then_some(Self { chain, key }))
    }

    /// Self-signed certificate for a name, for mongod until Caddy has obtained one.
    ///
    /// # Errors
    /// When OpenSSL cannot create it.
    pub fn own(name: &str) -> Result<Self, ErrorStack> {
        let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        let key = PKey::from_ec_key(EcKey::generate(&curve)?)?;
        let mut subject = X509Name::builder()?;
        subject.append_entry_by_nid(Nid::COMMONNAME, "silo's own, until Caddy has one")?;
        let subject = subject.build();
        let mut serial = BigNum::new()?;
        serial.rand(127, MsbOption::MAYBE_ZERO, false)?;
        let mut builder = X509::builder()?;
        builder.set_version(2)?;
        let serial = serial.to_asn1_integer()?;
        builder.set_serial_number(&serial)?;
        builder.set_subject_name(&subject)?;
        builder.set_issuer_name(&subject)?;
        builder.set_pubkey(&key)?;
        let (from, until) = (
            Asn1Time::days_from_now(0)?,
            Asn1Time::days_from_now(OWN_DAYS)?,
        );
        builder.set_not_before(&from)?;
        builder.set_not_after(&until)?;
        builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
        builder.append_extension(ExtendedKeyUsage::new().server_auth().build()?)?;
        let names = SubjectAlternativeName::new()
            .dns(name)
            .build(&builder.x509v3_context(None, None))?;
        builder.append_extension(names)?;
        builder.sign(&key, MessageDigest::sha256())?;
        Ok(Self {
            chain: vec![builder.build()],
            key,
        })
    }

    /// Certificate in DER.
    ///
    /// # Errors
    /// When OpenSSL cannot write it.
    pub fn leaf(&self) -> Result<Vec<u8>, ErrorStack> {
        self.chain
            .first()
            .map_or(Ok(Vec::new()), |leaf| leaf.to_der())
    }

    /// Share of the validity that is left: 1 just after signing, 0 when expired.
    ///
    /// # Errors
    /// When the validity cannot be read.
    pub fn life_left(&self) -> Result<f64, ErrorStack> {
        let Some(leaf) = self.chain.first() else {
            return Ok(0.0);
        };
        let seconds = |difference: TimeDiff| {
            f64::from(difference.days) * 86_400.0 + f64::from(difference.secs)
        };
        let left = seconds(Asn1Time::days_from_now(0)?.diff(leaf.not_after())?);
        let whole = seconds(leaf.not_before().diff(leaf.not_after())?);
        Ok((left / whole).clamp(0.0, 1.0))
    }

    /// `true` if the certificate is self-signed.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.chain
            .first()
            .is_some_and(|leaf| leaf.issued(leaf) == X509VerifyResult::OK)
    }

    /// CA certificate to be trusted by clients.
    ///
    /// # Errors
    /// When OpenSSL cannot write it.
    pub fn authority(&self) -> Result<Vec<u8>, ErrorStack> {
        self.chain
            .last()
            .map_or(Ok(Vec::new()), |last| last.to_pem())
    }

    /// Key and chain in one file, for mongod.
    ///
    /// # Errors
    /// When OpenSSL cannot write it.
    pub fn file(&self) -> Result<Vec<u8>, ErrorStack> {
        let mut file = self.key.private_key_to_pem_pkcs8()?;
        for certificate in &self.chain {
            file.extend(certificate.to_pem()?);
        }
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_can_be_read_back_and_a_mixed_one_is_rejected() {
        let (one, other) = (
            Pair::own("silo.example").unwrap(),
            Pair::own("silo.example").unwrap(),
        );
        let (file, mixed) = (one.file().unwrap(), other.file().unwrap());
        let again = Pair::read(&file, &file).unwrap().unwrap();
        assert_eq!(again.leaf().unwrap(), one.leaf().unwrap());
        assert!(again.is_own());
        assert!(again.life_left().unwrap() > 0.99);
        assert!(
            Pair::read(&file, &mixed).unwrap().is_none(),
            "the key is another's"
        );
        assert!(Pair::read(b"", &file).is_err() || Pair::read(b"", &file).unwrap().is_none());
        assert!(Pair::read(b"-----BEGIN CERTIFICATE-----\n", &file).is_err());
    }
}
