//! A real nginx on loopback with one worker, for one test.
//!
//! Must not: touch an nginx of the machine; its own is a child in the test's folder.

use super::{Folder, within};
use rustix::process::{Pid, Signal, kill_process};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

/// A running nginx, ended when dropped.
pub struct Nginx {
    child: Child,
    log: PathBuf,
    pub url: String,
}

impl Nginx {
    /// Starts it; `None` where there is none.
    pub fn start(folder: &Folder) -> Option<Nginx> {
        let places = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"];
        let program = places.into_iter().find(|p| Path::new(p).exists())?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let at = folder.path("nginx");
        std::fs::create_dir(&at).unwrap();
        let dir = at.display();
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let conf = format!(
            "{user} daemon off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log;
             events {{ worker_connections 1024; }}
             http {{
                 access_log {dir}/access.log combined;
                 client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
                 uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
                 keepalive_requests 1000000;
                 server {{ listen 127.0.0.1:{port}; location / {{ return 200 \"hello from nginx\\n\"; }} }}
             }}"
        );
        std::fs::write(at.join("conf"), conf).unwrap();
        let mut command = folder.program(program);
        command.args(["-p", &dir.to_string(), "-c", &format!("{dir}/conf"), "-e", &format!("{dir}/error.log")]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let nginx = Nginx { child, log: at.join("access.log"), url: format!("http://127.0.0.1:{port}") };
        let listens = within(Duration::from_secs(10), || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        assert!(listens, "nginx does not listen: {:?}", std::fs::read_to_string(at.join("error.log")));
        Some(nginx)
    }

    /// How many requests it has logged, once they are `expected` or after a while.
    pub fn logged(&self, expected: u64) -> u64 {
        let count = || std::fs::read_to_string(&self.log).unwrap().lines().count() as u64;
        within(Duration::from_secs(5), || count() >= expected);
        count()
    }

    /// The process id of its one worker.
    pub fn worker(&self) -> Pid {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let text = std::fs::read_to_string(children).unwrap();
        text.split_whitespace().next().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw).unwrap()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its worker may have been stopped, and ends only when it runs.
        if self.child.try_wait().is_ok_and(|s| s.is_none()) {
            let _ = kill_process(self.worker(), Signal::CONT);
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        }
        let child = &mut self.child;
        if !within(Duration::from_secs(5), || child.try_wait().is_ok_and(|s| s.is_some())) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
