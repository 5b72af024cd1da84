//! The target of the comparison: nginx with one worker, plain and TLS, that answers everything
//! with the same 200 bytes, but `/status` with its own counts.
//!
//! Must not: be the bottleneck of nothing: it is one process on one core, which is the point.

use super::Outcome;
use std::io::{BufReader, Read as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running nginx, ended when dropped.
pub struct Nginx {
    child: Child,
    /// Port of plain HTTP.
    pub port: u16,
    /// Port of HTTPS.
    #[allow(dead_code)] // not every bench that has this target uses it
    pub tls_port: u16,
}

impl Nginx {
    /// Starts it with its files in `folder`.
    pub fn start(folder: &Path) -> Outcome<Nginx> {
        let free = || Ok::<_, std::io::Error>(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
        let (port, tls_port) = (free()?, free()?);
        certificate(folder)?;
        std::fs::write(
            folder.join("nginx.conf"),
            format!(
                "worker_processes 1; worker_rlimit_nofile 65536; daemon off; pid nginx.pid; error_log error.log;\n\
                 events {{ worker_connections 32768; }}\n\
                 http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;\n\
                 server {{ listen 127.0.0.1:{port} backlog=32768; listen 127.0.0.1:{tls_port} ssl backlog=32768;\n\
                 ssl_certificate cert.pem; ssl_certificate_key key.pem;\n\
                 location = /status {{ stub_status; }}\n\
                 location / {{ return 200 \"{}\"; }} }} }}\n",
                "x".repeat(200)
            ),
        )?;
        let mut child = Command::new("nginx")
            .arg("-p")
            .arg(folder)
            .args(["-c", "nginx.conf", "-e", "stderr"])
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("nginx can't be started ({e}); install it: apt-get install nginx"))?;
        for _ in 0..100 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(Nginx { child, port, tls_port });
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let _ = child.kill();
        let mut said = String::new();
        if let Some(err) = child.stderr.take() {
            BufReader::new(err).read_to_string(&mut said)?;
        }
        Err(format!("nginx does not listen: {}", said.lines().next().unwrap_or("it says nothing")).into())
    }
}

impl Nginx {
    /// Its master process.
    pub fn pid(&self) -> Option<rustix::process::Pid> {
        rustix::process::Pid::from_raw(self.child.id() as i32)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM to the master: it takes its worker along, which SIGKILL would not.
        if let Some(pid) = self.pid() {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// A self-signed certificate (P-256, what most servers have) that lives as long as the run.
fn certificate(folder: &Path) -> Outcome<()> {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder)
        .stderr(Stdio::null())
        .status()
        .map_err(|e| format!("openssl can't be started ({e}); install it: apt-get install openssl"))?;
    if made.success() { Ok(()) } else { Err("openssl made no certificate".into()) }
}
