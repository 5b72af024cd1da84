//! A real nginx on loopback, for one test.
//!
//! Must not: touch an nginx of the machine; its own is a child in a folder of its own.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A running nginx, ended when dropped.
pub struct Nginx {
    child: Child,
    dir: TempDir,
    port: u16,
}

impl Nginx {
    /// Starts it; `None` where there is none.
    pub fn start() -> Option<Nginx> {
        Nginx::with(|_| String::new())
    }

    /// Starts it with further blocks of its `http` section, for the folder it is given, where
    /// there may be files for it.
    pub fn with(more: impl FnOnce(&Path) -> String) -> Option<Nginx> {
        let program = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"]
            .into_iter()
            .find(|p| Path::new(p).exists())?;
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let at = dir.path().display();
        let more = more(dir.path());
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let conf = format!(
            "{user} daemon off; master_process on; worker_processes 1; pid {at}/pid; error_log {at}/error.log;
             events {{ worker_connections 1024; }}
             http {{
                 access_log {at}/access.log combined;
                 client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f;
                 uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;
                 keepalive_timeout 60s; keepalive_requests 100;
                 server {{
                     listen 127.0.0.1:{port};
                     location / {{ return 200 \"hello from nginx\\n\"; }}
                     location /missing {{ return 404; }}
                     location /broken {{ return 500; }}
                     location /empty {{ return 204; }}
                     location /files/ {{ root {at}; }}
                 }}
                 {more}
             }}"
        );
        std::fs::write(dir.path().join("conf"), conf).unwrap();
        std::fs::create_dir(dir.path().join("files")).unwrap();
        std::fs::write(dir.path().join("files/big"), "b".repeat(200_000)).unwrap();
        let child = Command::new(program)
            .args(["-p", &at.to_string(), "-c", &format!("{at}/conf"), "-e", &format!("{at}/error.log")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let nginx = Nginx { child, dir, port };
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let log = || std::fs::read_to_string(nginx.dir.path().join("error.log"));
            assert!(started.elapsed() < Duration::from_secs(10), "nginx does not listen: {:?}", log());
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(nginx)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A file of its folder.
    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// The lines of its access log once there are `n` of them, or after a while.
    pub fn log(&self, n: u64) -> Vec<String> {
        let started = Instant::now();
        loop {
            let text = std::fs::read_to_string(self.dir.path().join("access.log")).unwrap();
            if text.lines().count() as u64 >= n || started.elapsed() > Duration::from_secs(3) {
                return text.lines().map(str::to_owned).collect();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The process id of its one worker.
    pub fn worker(&self) -> u32 {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        std::fs::read_to_string(children).unwrap().split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Ends it: the target goes away in mid-run.
    pub fn end(&mut self) {
        super::signal(self.child.id(), "TERM"); // the master takes its worker along
        self.child.wait().unwrap();
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|s| s.is_none()) {
            self.end();
        }
    }
}
