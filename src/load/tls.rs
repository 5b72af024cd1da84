//! What TLS is spoken with: whom we trust, as whom we come, whose name we ask for.
//!
//! Must not: open connections; an engine does, with what is made here.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Sessions that are kept to be resumed.
const SESSIONS: usize = 1024;

/// How TLS is to be spoken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// The name the target must have in its certificate, and that we ask for (SNI, RFC 6066);
    /// an IP address is checked but not asked for.
    pub server_name: String,
    /// Accept whatever certificate comes.
    pub insecure: bool,
    /// PEM files of the authorities to trust; with none, those that this machine trusts.
    pub authorities: Vec<PathBuf>,
    /// PEM files of our certificate chain and its key, for a target that asks who we are.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Make a full handshake for every connection instead of resuming sessions.
    pub full_handshakes: bool,
}

/// TLS, ready to be used by all workers: sessions are shared.
#[derive(Clone)]
pub struct Tls {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
    /// Sessions are not to be resumed.
    pub(super) full_handshakes: bool,
}

impl Tls {
    /// A session, which is to say hello next.
    pub(super) fn begin(&self) -> Result<rustls::ClientConnection, rustls::Error> {
        rustls::ClientConnection::new(self.config.clone(), self.name.clone())
    }

    /// The same trust and identity for a client of another make.
    pub fn config(&self) -> ClientConfig {
        ClientConfig::clone(&self.config)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({:?})", self.name)
    }
}

/// Why TLS can't be spoken as asked.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or holds no PEM of that kind.
    #[error("{what} {path} can't be used: {why}")]
    File {
        /// What it was to be.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// Not a name that a certificate can be for.
    #[error("`{0}` is no server name; give --sni NAME")]
    Name(String),
    /// This machine trusts nobody.
    #[error("this machine has no certificate authorities; install ca-certificates, or give --ca FILE or --insecure")]
    NoAuthorities,
    /// Certificate and key don't fit, or the like.
    #[error("TLS can't be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

impl TlsOptions {
    /// Reads the files and makes it ready.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn prepare(&self) -> Result<Tls, TlsError> {
        let name = ServerName::try_from(self.server_name.clone())
            .map_err(|_| TlsError::Name(crate::model::clean(&self.server_name, 100)))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = if self.insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        } else {
            let (roots, known) = self.roots()?;
            let authorities = WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
                .build()
                .map_err(|e| rustls::Error::General(e.to_string()))?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Trusted { authorities, known }))
        };
        let mut config = match &self.certificate {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let key = PrivateKeyDer::from_pem_file(key).map_err(|e| file("the key", key, &e))?;
                builder.with_client_auth_cert(certificates("the certificate", chain)?, key)?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption =
            if self.full_handshakes { Resumption::disabled() } else { Resumption::in_memory_sessions(SESSIONS) };
        Ok(Tls { config: Arc::new(config), name, full_handshakes: self.full_handshakes })
    }

    /// The authorities to trust, and those of them that were named.
    fn roots(&self) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), TlsError> {
        let mut roots = RootCertStore::empty();
        let mut known = Vec::new();
        for path in &self.authorities {
            for certificate in certificates("the authority", path)? {
                known.push(certificate.clone());
                roots.add(certificate).map_err(|e| file("the authority", path, &e))?;
            }
        }
        if self.authorities.is_empty() {
            // One broken certificate among a hundred is not ours to complain about.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(TlsError::NoAuthorities);
            }
        }
        Ok((roots, known))
    }
}

/// Why a handshake failed, with what to do about it.
pub(super) fn in_words(e: &rustls::Error) -> String {
    use rustls::{CertificateError, Error};
    let mend = match e {
        Error::InvalidMessage(_) => "does the target speak TLS at this port?",
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "--sni NAME asks for another name, --insecure accepts any",
        Error::InvalidCertificate(_) => "--ca FILE trusts its authority, --insecure accepts any",
        Error::AlertReceived(_) => "the target refused us; if it wants to know who we are: --cert and --key",
        _ => return e.to_string(),
    };
    format!("{e} ({mend})")
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).map_err(|e| file(what, path, &e))?;
    let all: Vec<_> = read.collect::<Result<_, _>>().map_err(|e| file(what, path, &e))?;
    if all.is_empty() { Err(file(what, path, &"there is no PEM certificate in it")) } else { Ok(all) }
}

fn file(what: &'static str, path: &Path, why: &dyn fmt::Display) -> TlsError {
    TlsError::File { what, path: path.to_owned(), why: crate::model::clean(&why.to_string(), 200) }
}

/// Takes for the target who has a certificate of an authority, or the very certificate that was
/// named: one that signs itself is its own authority, which by the rules of authorities (RFC 5280
/// section 4.2.1.9) can't be a server's, and which test systems have all the same.
#[derive(Debug)]
struct Trusted {
    authorities: Arc<WebPkiServerVerifier>,
    known: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Trusted {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.authorities.verify_server_cert(certificate, others, name, ocsp, now);
        let is_authority = matches!(&verified, Err(rustls::Error::InvalidCertificate(CertificateError::Other(_))));
        if is_authority && self.known.iter().any(|known| known == certificate) {
            verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
            return Ok(ServerCertVerified::assertion());
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

/// Takes anyone for the target, as long as they hold the key of the certificate they show.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(options: TlsOptions) -> Result<Tls, String> {
        let options = TlsOptions { server_name: "localhost".into(), ..options };
        options.prepare().map_err(|e| e.to_string())
    }

    #[test]
    fn what_can_not_be_used_is_said_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "no PEM here\n").unwrap();
        let missing = folder.path().join("missing.pem");
        for path in [&empty, &missing] {
            let e = of(TlsOptions { authorities: vec![path.clone()], ..TlsOptions::default() }).unwrap_err();
            assert!(e.contains("the authority") && !e.contains('\n'), "{e}");
            let certificate = Some((path.clone(), path.clone()));
            let e = of(TlsOptions { insecure: true, certificate, ..TlsOptions::default() }).unwrap_err();
            assert!(e.contains("the key") && !e.contains('\n'), "{e}");
        }
        let nameless = TlsOptions { server_name: "a b".into(), insecure: true, ..TlsOptions::default() };
        assert!(nameless.prepare().unwrap_err().to_string().contains("--sni"));
        assert!(of(TlsOptions { insecure: true, ..TlsOptions::default() }).is_ok());
    }
}
