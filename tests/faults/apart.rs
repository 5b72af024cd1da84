//! Faults of the host, and of a target over time: they need a setting of their own.
//!
//! Must not: change anything outside a network namespace of its own.

use super::play::{MODES, play_at_nobody};
use super::support::{Bench, Do, Report, Running, Server, free_port, gets, has, ok};
use super::table::{outcome_of, table};
use std::process::Command;

/// The words of a run in `mode` that offers `n` requests at `rate` where it is paced.
pub fn words(mode: &super::Mode, lanes: u64, n: u64, rate: u32) -> String {
    let threads = mode.lanes.min(lanes);
    let rate = if mode.paced { format!("--rate {rate}") } else { String::new() };
    let close = if mode.keeps { "" } else { "--connection close" };
    format!("--threads {threads} --connections {lanes} --requests {n} {rate} {close}")
}

pub fn say(name: &str, mode: &super::Mode, report: &Report) {
    println!("{name}, {}: {:?}", mode.name, report.outcomes());
}

#[test]
fn a_target_that_goes_away_is_refused_from_then_on() {
    let name = "goes away while it is loaded";
    let server = Server::start(|asked| match asked.nth {
        0..20 => ok(),
        _ => [vec![Do::StopListening], ok(), vec![Do::wait_ms(10), Do::Close]].concat(),
    });
    let report = Bench::new().run(&server.url(), &gets(10), "--duration 1s --connections 2 --threads 1");
    say(name, &MODES[0], &report);
    let refused = report.outcome(outcome_of(name));
    assert!(refused >= 5, "{:?}", report.outcomes());
    // A closed loop backs off: two connections, a tenth of a second between attempts.
    assert!(refused < 60, "{refused} attempts in a second");
    // Connections that wait to be taken go down with the listener, their requests unseen.
    let (seen, sent) = (server.requests(), report.n("sent") + report.n("retried"));
    assert!((sent - 4..=sent).contains(&seen), "{seen} of {sent}");
    assert_eq!(report.ended.status.code(), Some(0));
}

#[test]
fn an_endless_body_leaves_other_connections_their_turn() {
    // As much as the sockets take, for one of the first requests; the others are answered. A
    // worker that read on as long as there is something would neither answer nor time out.
    let endless = || vec![Do::send("HTTP/1.1 200 OK\r\n\r\n"), Do::Flood(vec![b'x'; 16 << 20])];
    let server = Server::start(move |asked| if asked.nth == 1 { endless() } else { ok() });
    let words = "--requests 200 --connections 2 --threads 1 --timeout 1s";
    let report = Bench::new().run(&server.url(), &gets(10), words);
    assert_eq!((report.outcome("200"), report.outcome("endless_body")), (199, 1), "{:?}", report.outcomes());
    server.wait_for_ends();
}

#[test]
fn too_few_descriptors_are_an_outcome_and_a_fault_that_says_how_to_raise_them() {
    let name = "no file descriptor is left";
    std::thread::scope(|s| {
        for mode in &MODES {
            s.spawn(move || {
                // The server keeps every connection busy, so that as many are needed as there may be.
                let server = Server::start(|_| [vec![Do::wait_ms(20)], ok()].concat());
                let limited = |limit: &str| {
                    let bench = Bench::new();
                    let log = bench.file("access.log", gets(10));
                    let mut command = Command::new("sh");
                    let shell = format!("ulimit {limit} && exec \"$0\" \"$@\"");
                    command.args(["-c", &shell, env!("CARGO_BIN_EXE_perfbench")]);
                    command.args(bench.words(&server.url(), &log, &words(mode, 80, 300, 3000)));
                    Running::start(command).report()
                };
                let report = limited("-n 96");
                say(name, mode, &report);
                let missing = report.outcome(outcome_of(name));
                assert!(missing > 0 && report.n("completed") > 0, "{:?}", report.outcomes());
                assert_eq!((report.n("offered"), missing + report.n("completed")), (300, 300));
                assert!(report.faults().contains("ulimit -n 280"), "{}", report.faults());
                // The h1 engine leaves those who watch the host what they need.
                let is_blind = report.faults().contains("Too many open files");
                assert!(!is_blind || report.json["load"]["engine"] != "h1", "{}", report.faults());
                assert_eq!(server.requests(), report.n("sent") + report.n("retried"));
                // A limit that may be raised is raised.
                let report = limited("-S -n 96");
                assert_eq!((report.outcome("200"), report.faults()), (300, String::new()), "{:?}", report.outcomes());
            });
        }
    });
}

/// Writes a setting of this network namespace.
fn set(name: &str, value: &str) {
    std::fs::write(format!("/proc/sys/net/ipv4/{name}"), value).unwrap_or_else(|e| panic!("{name}: {e}"));
}

/// Carries `work` of the test `name` out in a network namespace of its own, with nothing in it
/// but a loopback, by running that test once more in there; false where there can't be one.
pub fn in_a_network_of_its_own(name: &str, work: impl FnOnce()) -> bool {
    const INSIDE: &str = "PERFBENCH_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        work();
        return true;
    }
    let unshared = |words: &[&str]| {
        let mut command = Command::new("unshare");
        // A mount namespace too: names come from files there, which are covered by others.
        let shell = "ip link set lo up && mount --bind /etc/hosts /etc/hosts && exec \"$0\" \"$@\"";
        command.args(["-rnm", "sh", "-c", shell]).args(words);
        command
    };
    if !has("ip") || !unshared(&["true"]).status().is_ok_and(|s| s.success()) {
        return false;
    }
    let this = std::env::current_exe().unwrap();
    let out = unshared(&[this.to_str().unwrap(), "--exact", name, "--nocapture"]).env(INSIDE, "1").output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    println!("{text}");
    assert!(out.status.success(), "{text}\n{}", String::from_utf8_lossy(&out.stderr));
    assert!(text.contains("1 passed"), "{text}");
    true
}

#[test]
fn faults_of_a_network_of_their_own() {
    let all = || {
        small_buffers();
        no_name();
        no_ports();
        ourselves();
    };
    if !in_a_network_of_its_own("apart::faults_of_a_network_of_their_own", all) {
        skip!("ip, and namespaces of its own (unshare -rnm)");
    }
}

fn small_buffers() {
    set("tcp_wmem", "4096 16384 65536");
    set("tcp_rmem", "4096 16384 65536");
    let faults: Vec<_> = table().into_iter().filter(|f| f.is_big()).collect();
    assert!(!faults.is_empty());
    super::play_all(&faults);
}

/// The name is known when the run looks for its target, and lost then: first nobody is asked
/// in vain, then somebody who does not answer.
fn no_name() {
    let bench = Bench::new();
    let [hosts, servers] = [("hosts", "127.0.0.1 target.example\n"), ("servers", "nameserver 127.0.0.1\n")]
        .map(|(name, content)| bench.file(name, content));
    for (file, over) in [(&hosts, "/etc/hosts"), (&servers, "/etc/resolv.conf")] {
        assert!(Command::new("mount").arg("--bind").arg(file).arg(over).status().unwrap().success());
    }
    let mut silent = None;
    for name in
        ["its name does not resolve any more (--dns connection)", "the name server is silent (--dns connection)"]
    {
        for mode in &MODES {
            bench.file("hosts", "127.0.0.1 target.example\n");
            let words = words(mode, mode.lanes, 2, 200) + " --dns connection --connect-timeout 500ms";
            let report = play_at_nobody("target.example", &words, |listener, keeps_port| {
                bench.file("hosts", "127.0.0.1 localhost\n");
                (listener, keeps_port)
            });
            say(name, mode, &report);
            assert_eq!((report.outcome(outcome_of(name)), report.n("sent")), (2, 0), "{:?}", report.outcomes());
        }
        silent.get_or_insert_with(|| std::net::UdpSocket::bind("127.0.0.1:53").unwrap());
    }
}

/// Eight local ports, and what was closed holds its port for a minute.
fn no_ports() {
    let name = "all local ports to the target are taken";
    set("tcp_tw_reuse", "0");
    for mode in &MODES {
        set("ip_local_port_range", "32768 60999");
        let keeps = mode.keeps;
        let busy = move || if keeps { vec![Do::wait_ms(100)] } else { vec![] };
        let server = Server::start(move |_| [busy(), ok()].concat());
        let bench = Bench::new();
        let log = bench.file("access.log", gets(10));
        let lanes = if mode.keeps { 12 } else { 1 };
        set("ip_local_port_range", "20000 20007");
        let run = Running::start(bench.command(&bench.words(&server.url(), &log, &words(mode, lanes, 12, 2000))));
        let report = run.report();
        say(name, mode, &report);
        // The look whether anybody is there has taken one of the eight.
        assert_eq!(server.accepted(), 8);
        assert_eq!(report.n("sent"), server.requests());
        assert_eq!((report.outcome("200"), report.outcome(outcome_of(name))), (7, 5), "{:?}", report.outcomes());
        server.wait_for_ends();
    }
    set("tcp_tw_reuse", "2");
}

/// The only local port there is happens to be the one nobody listens on.
fn ourselves() {
    let name = "nobody listens on a port of our own range, and the kernel joins us to ourselves";
    for mode in &MODES {
        set("ip_local_port_range", "32768 60999");
        let report = play_at_nobody("127.0.0.1", &words(mode, 1, 2, 200), |listener, keeps_port| {
            let port = listener.local_addr().unwrap().as_socket().unwrap().port();
            drop((listener, keeps_port));
            set("ip_local_port_range", &format!("{port} {port}"));
        });
        say(name, mode, &report);
        // Our end keeps the port for a while, so that the second request may find none.
        let (refused, no_port) = (report.outcome(outcome_of(name)), report.outcome("EADDRNOTAVAIL"));
        assert!(refused >= 1 && refused + no_port == 2, "{:?}", report.outcomes());
    }
    // Before a run it is told as what it is.
    set("ip_local_port_range", "32768 60999");
    let port = free_port();
    set("ip_local_port_range", &format!("{port} {port}"));
    let bench = Bench::new();
    let log = bench.file("access.log", gets(1));
    let words = bench.words(&format!("http://127.0.0.1:{port}"), &log, "--requests 1");
    let ended = Running::start(bench.command(&words)).end();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("can't be reached"), "{}", ended.stderr);
}
