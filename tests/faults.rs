//! Targets that misbehave: each outcome under its own name, and sums that hold.
//!
//! Must not: depend on how fast the machine is.

#[macro_use]
mod support;

use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::Duration;
use support::{Bench, Do, Report, Running, Server, gets, has, line, ok};

/// Offers `n` requests over one connection.
fn offer(server: &Server, n: u64, more: &str) -> Report {
    let more = format!("--requests {n} --connections 1 --threads 1 {more}");
    let report = Bench::new().run(&server.url(), &gets(10), &more);
    assert_eq!(report.n("offered"), n);
    assert_eq!(server.requests(), report.n("sent") + report.n("retried"), "what the server saw");
    report
}

/// Every request of a run against `script` ends in `outcome`, on a connection of its own.
fn all_end_in(outcome: &str, more: &str, script: Vec<Do>) {
    let server = Server::start(move |_| script.clone());
    let report = offer(&server, 3, more);
    assert_eq!(report.outcome(outcome), 3, "{:?}", report.outcomes());
    assert_eq!((report.n("sent"), report.n("retried"), server.connections()), (3, 0, 3));
    assert_eq!(report.ended.status.code(), Some(1), "a run that completed nothing has failed");
}

/// Every request is answered with `status`, over `connections` connections.
fn all_complete(status: &str, connections: usize, script: Vec<Do>) {
    let server = Server::start(move |_| script.clone());
    let report = offer(&server, 4, "");
    assert_eq!(report.outcome(status), 4, "{:?}", report.outcomes());
    assert_eq!((report.n("completed"), report.n("retried"), server.connections()), (4, 0, connections));
    assert_eq!(report.ended.status.code(), Some(0), "{}", report.ended.stderr);
}

#[test]
fn a_connection_reset_is_named_wherever_it_happens() {
    all_end_in("ECONNRESET", "", vec![Do::Reset]);
    all_end_in("ECONNRESET", "", vec![Do::send("HTTP/1.1 200 OK\r\nContent-"), Do::wait_ms(20), Do::Reset]);
    let half_a_body = Do::send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    all_end_in("ECONNRESET", "", vec![half_a_body, Do::wait_ms(20), Do::Reset]);
}

#[test]
fn a_response_cut_off_is_closed_early() {
    all_end_in("closed_early", "", vec![Do::Close]);
    for cut in [
        "HTTP/1.1 200 OK\r\nContent-Len",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        all_end_in("closed_early", "", vec![Do::send(cut), Do::Close]);
    }
}

#[test]
fn what_is_no_response_is_malformed() {
    for wrong in [
        "SSH-2.0-OpenSSH_9.9\r\n",
        "\x16\x03\x01\x02\x00",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 20x OK\r\n\r\n",
    ] {
        all_end_in("malformed_response", "", vec![Do::send(wrong), Do::Hang]);
    }
}

#[test]
fn a_head_without_end_is_too_large() {
    let one = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(1 << 20));
    let many = format!("HTTP/1.1 200 OK\r\n{}", "Set-Cookie: a=b\r\n".repeat(60_000));
    for head in [one, many] {
        all_end_in("head_too_large", "", vec![Do::send(head), Do::Hang]);
    }
}

#[test]
fn time_runs_out_under_the_name_of_its_phase() {
    all_end_in("timeout_first_byte", "--timeout 150ms", vec![Do::Hang]);
    let head = Do::send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    let drip = [Do::send("."), Do::wait_ms(100)];
    let dripping: Vec<Do> = [head].into_iter().chain(drip.into_iter().cycle().take(40)).collect();
    all_end_in("timeout_body", "--timeout 300ms", dripping);
    let endless = vec![Do::send("HTTP/1.1 200 OK\r\n\r\n"), Do::Flood(vec![b'x'; 65536])];
    all_end_in("timeout_body", "--timeout 300ms", endless);
}

#[test]
fn a_connection_that_nobody_takes_times_out_connecting() {
    // A full accept queue: the kernel passes over the SYNs of further clients.
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(200));
    let mut held = Vec::new();
    while let Ok(stream) = connect() {
        held.push(stream);
        assert!(held.len() < 50, "the queue does not fill");
    }
    let more = "--requests 3 --connections 3 --connect-timeout 200ms";
    let report = Bench::new().run(&format!("http://{address}"), &gets(3), more);
    assert_eq!((report.outcome("timeout_connect"), report.n("sent")), (3, 0), "{:?}", report.outcomes());
    assert_eq!(report.json["service_time_us"]["count"], 0, "nothing was sent that could have been served");
}

#[test]
fn a_target_that_goes_away_is_refused_from_then_on() {
    let server = Server::start(|asked| match asked.nth {
        0..20 => ok(),
        _ => [vec![Do::StopListening], ok(), vec![Do::wait_ms(10), Do::Close]].concat(),
    });
    let report = Bench::new().run(&server.url(), &gets(10), "--duration 1s --connections 2 --threads 1");
    let refused = report.outcome("ECONNREFUSED");
    assert!(refused >= 5, "{:?}", report.outcomes());
    // A closed loop backs off: two connections, a tenth of a second between attempts.
    assert!(refused < 60, "{refused} attempts in a second");
    // Connections that wait to be taken go down with the listener, their requests unseen.
    let (seen, sent) = (server.requests(), report.n("sent") + report.n("retried"));
    assert!((sent - 4..=sent).contains(&seen), "{seen} of {sent}");
    assert_eq!(report.ended.status.code(), Some(0));
}

#[test]
fn interim_responses_are_passed_over() {
    let wire = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno";
    all_complete("404", 1, vec![Do::send(wire)]);
    let (hint, rest) = wire.split_at(40);
    all_complete("404", 1, vec![Do::send(hint), Do::wait_ms(10), Do::send(rest)]);
}

#[test]
fn bytes_behind_a_response_end_the_connection_and_nothing_else() {
    all_complete("200", 4, vec![Do::send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 Extra\r\n\r\n")]);
}

#[test]
fn an_answer_to_nothing_is_not_taken_for_the_next_one() {
    // As servers do that time an idle connection out: 408, then FIN, unasked.
    let late = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let server = Server::start(move |_| [ok(), vec![Do::wait_ms(20), Do::send(late), Do::Close]].concat());
    let report = offer(&server, 4, "--rate 5");
    assert_eq!((report.outcome("200"), report.n("retried")), (4, 0), "{:?}", report.outcomes());
}

#[test]
fn chunks_are_believed_over_a_length_and_the_connection_is_left() {
    let wire = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    all_complete("200", 4, vec![Do::send(wire)]);
}

#[test]
fn chunked_bodies_in_any_pieces_keep_the_connection() {
    let wire =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nX-Trailer: t\r\n\r\n";
    let pieces = wire.as_bytes().chunks(7).flat_map(|c| [Do::send(c), Do::wait_ms(1)]).collect();
    all_complete("200", 1, pieces);
}

#[test]
fn responses_without_a_body_end_with_their_head() {
    all_complete("204", 1, vec![Do::send("HTTP/1.1 204 No Content\r\n\r\n")]);
    all_complete("304", 1, vec![Do::send("HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n")]);
    let server = Server::start(|_| vec![Do::send("HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n")]);
    let log: String = (0..4).map(|_| line(0, "HEAD", "/h")).collect();
    let report = Bench::new().run(&server.url(), &log, "--requests 4 --connections 1");
    assert_eq!((report.outcome("200"), report.n("sent"), server.connections()), (4, 4, 1));
    assert!(server.asked().iter().all(|a| a.method() == "HEAD"));
}

#[test]
fn a_body_up_to_the_close_is_whole() {
    all_complete("200", 4, vec![Do::send("HTTP/1.0 200 OK\r\n\r\nto the end"), Do::Close]);
    all_complete("200", 1, vec![Do::send("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")]);
}

#[test]
fn a_connection_closed_under_a_request_is_tried_once_more_on_a_fresh_one() {
    for end in [Do::Close, Do::Reset] {
        // Each connection answers its first request and drops its second one.
        let server = Server::start(move |asked| if asked.on_connection == 0 { ok() } else { vec![end.clone()] });
        let report = offer(&server, 6, "");
        assert_eq!((report.n("completed"), report.n("retried"), report.n("failed")), (6, 5, 0));
        assert_eq!((report.n("sent"), server.requests()), (6, 11));
        assert_eq!(report.json["phases_us"]["connect"]["count"], 6);
    }
}

#[test]
fn a_connection_closed_between_requests_costs_no_request() {
    for end in [Do::Close, Do::Reset] {
        for pause in [0, 20] {
            let (end, first) = (end.clone(), ok());
            let server = Server::start(move |_| [first.clone(), vec![Do::wait_ms(pause), end.clone()]].concat());
            let report = Bench::new().run(&server.url(), &gets(6), "--requests 6 --connections 1 --rate 100");
            assert_eq!((report.n("completed"), report.n("failed")), (6, 0), "{:?}", report.outcomes());
        }
    }
}

#[test]
fn what_must_not_be_sent_twice_is_not() {
    let server = Server::start(|asked| if asked.on_connection == 0 { ok() } else { vec![Do::Close] });
    let log: String = (0..6).map(|_| line(0, "POST", "/pay")).collect();
    let report = Bench::new().run(&server.url(), &log, "--methods POST --requests 6 --connections 1");
    assert_eq!((report.outcome("200"), report.outcome("closed_early"), report.n("retried")), (3, 3, 0));
    assert_eq!(server.requests(), 6);
}

#[test]
fn a_target_that_never_answers_fails_even_the_second_time() {
    // The first request of the run is answered; nothing is from then on.
    let server = Server::start(|asked| if asked.nth == 0 { ok() } else { vec![Do::Close] });
    let report = offer(&server, 3, "");
    assert_eq!((report.outcome("200"), report.outcome("closed_early"), report.n("retried")), (1, 2, 1));
}

#[test]
fn too_few_descriptors_are_an_outcome_and_a_fault_that_says_how_to_raise_them() {
    let (bench, server) = (Bench::new(), Server::answering());
    let log = bench.file("access.log", gets(10));
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 48 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_perfbench")]);
    command.args(bench.words(&server.url(), &log, "--duration 1s --connections 80 --threads 1"));
    let report = Running::start(command).report();
    assert!(report.outcome("EMFILE") > 0 && report.n("completed") > 0, "{:?}", report.outcomes());
    assert!(report.faults().contains("ulimit -n 280"), "{}", report.faults());
    assert_eq!(server.requests(), report.n("sent") + report.n("retried"));
}

#[test]
fn local_ports_that_run_out_are_named() {
    let usable =
        |needs: &str| Command::new("unshare").args(["-rn", "sh", "-c", needs]).status().is_ok_and(|s| s.success());
    if !has("ip") || !usable("ip link set lo up && echo 40000 40007 > /proc/sys/net/ipv4/ip_local_port_range") {
        skip!("ip, and a network namespace of its own (unshare -rn)");
    }
    let bench = Bench::new();
    let log = bench.file("access.log", gets(10));
    // In a namespace with eight local ports, the demo target on one of them.
    let narrow = "ip link set lo up && echo 40000 40007 > /proc/sys/net/ipv4/ip_local_port_range && exec \"$0\" \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-rn", "sh", "-c", narrow, env!("CARGO_BIN_EXE_perfbench")]);
    let words = bench.words("", &log, "--requests 100 --connections 30");
    command.args(&words[1..]);
    let report = Running::start(command).report();
    assert!(report.outcome("EADDRNOTAVAIL") > 0 && report.n("completed") > 0, "{:?}", report.outcomes());
}

#[test]
fn a_target_is_not_our_own_end_of_the_connection() {
    let one_port =
        "ip link set lo up && echo 40001 40001 > /proc/sys/net/ipv4/ip_local_port_range && exec \"$0\" \"$@\"";
    let usable =
        Command::new("unshare").args(["-rn", "sh", "-c", one_port, "true"]).status().is_ok_and(|s| s.success());
    if !has("ip") || !usable {
        skip!("ip, and a network namespace of its own (unshare -rn)");
    }
    let bench = Bench::new();
    let log = bench.file("access.log", gets(1));
    // The only local port there is happens to be the one nobody listens on.
    let mut command = Command::new("unshare");
    command.args(["-rn", "sh", "-c", one_port, env!("CARGO_BIN_EXE_perfbench")]);
    command.args(bench.words("http://127.0.0.1:40001", &log, "--requests 1"));
    let ended = Running::start(command).end();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("can't be reached"), "{}", ended.stderr);
}
