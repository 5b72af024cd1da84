//! Certificates for the servers of tests, made by openssl in a folder: NAME.pem with NAME.key.
//!
//! Must not: last longer than a test needs them.

use std::path::Path;
use std::process::{Command, Stdio};

/// A new key (P-256, what most servers have), as words of `openssl req`.
const NEW: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// An authority, `ca.pem`, and its folder.
pub struct Authority<'a> {
    folder: &'a Path,
}

impl Authority<'_> {
    pub fn new(folder: &Path) -> Authority<'_> {
        let authority = Authority { folder };
        authority.openssl(&format!("req -x509 {NEW} -days 2 -subj /CN=authority -keyout ca.key -out ca.pem"));
        authority
    }

    /// A certificate for `names`, like `DNS:localhost,IP:127.0.0.1`.
    pub fn sign(&self, name: &str, names: &str) {
        self.request(name, names);
        let by_us = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names";
        self.openssl(&format!("x509 -req {by_us} -in {name}.csr -out {name}.pem"));
    }

    /// A key, and the request for a certificate to be signed otherwise: `NAME.csr`, with `names` as
    /// the file of extensions.
    pub fn request(&self, name: &str, names: &str) {
        self.openssl(&format!("req {NEW} -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        self.write("names", &format!("subjectAltName={names}\nbasicConstraints=CA:FALSE\n"));
    }

    /// A certificate that nobody but itself has signed.
    pub fn sign_itself(&self, name: &str, names: &str) {
        let names = format!("-addext subjectAltName={names}");
        self.openssl(&format!("req -x509 {NEW} -days 2 -subj /CN={name} {names} -keyout {name}.key -out {name}.pem"));
    }

    pub fn openssl(&self, words: &str) {
        let mut openssl = Command::new("openssl");
        let made = openssl.args(words.split(' ')).current_dir(self.folder).stderr(Stdio::piped()).output().unwrap();
        assert!(made.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&made.stderr));
    }

    pub fn write(&self, name: &str, content: &str) {
        std::fs::write(self.folder.join(name), content).unwrap();
    }
}
