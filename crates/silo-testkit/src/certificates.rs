//! Certificates of an authority of our own: good ones, and ones that are to be refused.

use std::path::Path;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::{BasicConstraints, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name};

/// Seconds of a day.
const DAY: i64 = 86_400;

/// An authority. A process trusts it when `SSL_CERT_FILE` names the file that [`Authority::save`] wrote.
pub struct Authority {
    key: PKey<Private>,
    certificate: X509,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// When OpenSSL cannot make one.
    pub fn new() -> Result<Self, ErrorStack> {
        let key = key()?;
        let mut builder = builder("silo's test authority", &key, (-10 * DAY, 3650 * DAY))?;
        let name = name("silo's test authority")?;
        builder.set_issuer_name(&name)?;
        builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
        builder.append_extension(KeyUsage::new().critical().key_cert_sign().build()?)?;
        builder.sign(&key, MessageDigest::sha256())?;
        let certificate = builder.build();
        Ok(Self { key, certificate })
    }

    /// Writes its own certificate to a file.
    ///
    /// # Errors
    /// When it cannot.
    pub fn save(&self, file: &Path) -> std::io::Result<()> {
        std::fs::write(file, self.certificate.to_pem()?)
    }

    /// Writes the key and certificate of a server at 127.0.0.1 and localhost into one PEM file, as mongod reads them.
    ///
    /// # Errors
    /// When OpenSSL cannot make them, or the file cannot be written.
    pub fn save_server(&self, file: &Path) -> std::io::Result<()> {
        let names = here();
        let (key, certificate) = self.issue(&names, 90 * DAY)?;
        let pem = [key.private_key_to_pem_pkcs8()?, certificate.to_pem()?].concat();
        std::fs::write(file, pem)
    }

    /// Writes a certificate for 127.0.0.1 and localhost that is valid for so many days from now, and its key, into two PEM files, as Caddy stores them.
    ///
    /// # Errors
    /// When OpenSSL cannot make them, or a file cannot be written.
    pub fn save_pair(&self, certificate: &Path, key: &Path, days: i64) -> std::io::Result<()> {
        let (own_key, own) = self.issue(&here(), days * DAY)?;
        std::fs::write(key, own_key.private_key_to_pem_pkcs8()?)?;
        std::fs::write(certificate, own.to_pem()?)
    }

    /// TLS acceptor for 127.0.0.1 and localhost, with a certificate valid for so many days from now; a negative number makes an expired one.
    ///
    /// # Errors
    /// When OpenSSL cannot create it.
    pub fn valid_for_days(&self, days: i64) -> Result<SslAcceptor, ErrorStack> {
        // One more hour, so that the certificate is valid for full days.
        self.acceptor(&here(), days * DAY + 3600)
    }

    /// TLS acceptor with a certificate for another name.
    ///
    /// # Errors
    /// When OpenSSL cannot create it.
    pub fn for_another_name(&self) -> Result<SslAcceptor, ErrorStack> {
        self.acceptor(
            SubjectAlternativeName::new().dns("somebody-else.example"),
            90 * DAY,
        )
    }

    fn acceptor(
        &self,
        names: &SubjectAlternativeName,
        until: i64,
    ) -> Result<SslAcceptor, ErrorStack> {
        let (key, certificate) = self.issue(names, until)?;
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
        acceptor.set_private_key(&key)?;
        acceptor.set_certificate(&certificate)?;
        Ok(acceptor.build())
    }

    /// A key and a certificate for these names, valid for so many seconds from now.
    fn issue(
        &self,
        names: &SubjectAlternativeName,
        until: i64,
    ) -> Result<(PKey<Private>, X509), ErrorStack> {
        let key = key()?;
        let mut builder = builder("a server of silo's tests", &key, (-400 * DAY, until))?;
        builder.set_issuer_name(self.certificate.subject_name())?;
        let names = names.build(&builder.x509v3_context(Some(&self.certificate), None))?;
        builder.append_extension(names)?;
        builder.sign(&self.key, MessageDigest::sha256())?;
        Ok((key, builder.build()))
    }
}

/// The names of this machine.
fn here() -> SubjectAlternativeName {
    let mut names = SubjectAlternativeName::new();
    names.dns("localhost").ip("127.0.0.1");
    names
}

fn key() -> Result<PKey<Private>, ErrorStack> {
    let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    PKey::from_ec_key(EcKey::generate(&curve)?)
}

fn name(text: &str) -> Result<X509Name, ErrorStack> {
    let mut name = X509Name::builder()?;
    name.append_entry_by_nid(Nid::COMMONNAME, text)?;
    Ok(name.build())
}

/// Builder of a certificate valid between two times, in seconds from now.
fn builder(
    subject: &str,
    key: &PKey<Private>,
    valid: (i64, i64),
) -> Result<X509Builder, ErrorStack> {
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    let mut serial = BigNum::new()?;
    serial.rand(64, openssl::bn::MsbOption::MAYBE_ZERO, false)?;
    let serial = serial.to_asn1_integer()?;
    builder.set_serial_number(&serial)?;
    let subject = name(subject)?;
    builder.set_subject_name(&subject)?;
    builder.set_pubkey(key)?;
    let now = jiff::Timestamp::now().as_second();
    let (from, until) = (
        Asn1Time::from_unix(now + valid.0)?,
        Asn1Time::from_unix(now + valid.1)?,
    );
    builder.set_not_before(&from)?;
    builder.set_not_after(&until)?;
    Ok(builder)
}
