//! Accounts of RGW, created through its admin API.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::Timestamp;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;

use super::error::S3Error;

/// The account that may create others: access key and secret.
pub(super) const ADMIN: (&str, &str) = ("silo-admin", "silo-admin-secret");

/// An account with a tenant of its own: its bucket names are not shared with other accounts.
#[derive(Clone, Debug)]
pub struct Account {
    /// Access key.
    pub key: String,
    /// Secret of the access key.
    pub secret: String,
}

impl Account {
    /// Creates an account with a name that no other process uses.
    pub(super) async fn create(rgw: SocketAddr) -> Result<Self, S3Error> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("t{}x{number}", std::process::id());
        let account = Self {
            key: format!("key-{name}"),
            secret: format!("storage-secret-of-{name}"),
        };
        let query = format!(
            "format=json&uid=silo&tenant={name}&display-name={name}&access-key={}&secret-key={}",
            account.key, account.secret
        );
        let failed = |error: &dyn std::fmt::Display| S3Error::Account(error.to_string());
        let date = Timestamp::now()
            .strftime("%a, %d %b %Y %H:%M:%S GMT")
            .to_string();
        let authorization = sign("PUT", &date, "/admin/user").map_err(|error| failed(&error))?;
        let answer = reqwest::Client::new()
            .put(format!("http://{rgw}/admin/user?{query}"))
            .header("Date", date)
            .header("Authorization", authorization)
            .send()
            .await
            .map_err(|error| failed(&error))?;
        let status = answer.status();
        if !status.is_success() {
            let text = answer.text().await.unwrap_or_default();
            return Err(failed(&format!("{status} {text}")));
        }
        Ok(account)
    }
}

/// `Authorization` header of the administrator (AWS signature version 2: HMAC-SHA1 of method, empty MD5 and content type, date, path).
fn sign(method: &str, date: &str, path: &str) -> Result<String, openssl::error::ErrorStack> {
    let (key, secret) = ADMIN;
    let hmac_key = PKey::hmac(secret.as_bytes())?;
    let mut signer = Signer::new(MessageDigest::sha1(), &hmac_key)?;
    signer.update(format!("{method}\n\n\n{date}\n{path}").as_bytes())?;
    let signature = openssl::base64::encode_block(&signer.sign_to_vec()?);
    Ok(format!("AWS {key}:{signature}"))
}
