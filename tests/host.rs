//! The host room against a real kernel: real sockets, processes and CPU time on loopback.
//!
//! Each test has a loopback address of its own, so that neither the other tests nor the
//! machine's own traffic is in its counts.
//!
//! Must not: leave loopback, or need a privilege.

use perfbench::clock::Clock;
use perfbench::host::{Batch, Config, SAMPLERS, Sampler, Setup, Watch};
use perfbench::model::{Event, Fault, Metric, Readings};
use socket2::{Domain, SockAddr, Socket, Type};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

/// One sampler of the table by itself.
fn sampler(name: &str, target: Option<SocketAddr>) -> Box<dyn Sampler> {
    let row = SAMPLERS.iter().find(|r| r.name == name).unwrap();
    (row.open)(&Setup::of_host(target, None, Clock::start()))
}

fn sample(sampler: &mut dyn Sampler) -> Batch {
    let mut batch = Batch::default();
    sampler.sample(&mut batch).unwrap();
    batch
}

fn value(batch: &Batch, metric: Metric, instance: &str) -> Option<i64> {
    batch.values.iter().find(|r| r.metric == metric && &*r.instance == instance).map(|r| r.value)
}

/// Samples until `good` or for 3 s; the last batch.
fn until(sampler: &mut dyn Sampler, good: impl Fn(&Batch) -> bool) -> Batch {
    let end = Instant::now() + Duration::from_secs(3);
    loop {
        let batch = sample(sampler);
        if good(&batch) || Instant::now() > end {
            return batch;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Opens a connection and accepts it; the client's end first.
fn connect(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    (client, server)
}

fn skip(needs: &str) -> bool {
    assert!(std::env::var_os("PERFBENCH_NO_SKIP").is_none(), "needs {needs}");
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("skipped: needs {needs}\n").as_bytes());
    true
}

/// Whether `address` cannot be listened on here: then the test says so and ends.
fn listen(address: &str) -> Option<TcpListener> {
    match TcpListener::bind(address) {
        Ok(listener) => Some(listener),
        Err(e) => {
            skip(&format!("to listen on {address}: {e}"));
            None
        }
    }
}

fn established_and_time_wait_are_counted_exactly(address: &str) {
    let Some(listener) = listen(address) else { return };
    let target = listener.local_addr().unwrap();
    let name = target.to_string();
    let mut destination = sampler("destination", Some(target));
    let before = sample(&mut *destination);
    assert_eq!(value(&before, Metric::PortsUsed, &name), Some(0));
    let mut open: Vec<_> = (0..7).map(|_| connect(&listener)).collect();
    // The client closes first, and so holds TIME_WAIT.
    for _ in 0..5 {
        let (client, server) = connect(&listener);
        drop(client);
        drop(server);
    }
    // The server closes and the client does not: CLOSE_WAIT.
    let (half, server) = connect(&listener);
    drop(server);
    let b = until(&mut *destination, |b| {
        value(b, Metric::DestTimeWait, &name) == Some(5) && value(b, Metric::DestOther, &name) == Some(1)
    });
    assert_eq!(value(&b, Metric::DestEstablished, &name), Some(7));
    assert_eq!(value(&b, Metric::DestTimeWait, &name), Some(5));
    assert_eq!(value(&b, Metric::DestOther, &name), Some(1));
    assert_eq!(value(&b, Metric::DestSynSent, &name), Some(0));
    // connect() chooses from the range, so every socket holds one port of it.
    assert_eq!(value(&b, Metric::PortsUsed, &name), Some(13));
    assert!(value(&b, Metric::PortsBudget, &name) > Some(13));
    assert!(b.faults.is_empty(), "{:?}", b.faults);
    // The server's own ends are not sockets to the target.
    open.truncate(3);
    let b = until(&mut *destination, |b| value(b, Metric::DestEstablished, &name) == Some(3));
    assert_eq!(value(&b, Metric::DestEstablished, &name), Some(3));
    drop(half);
}

#[test]
fn connections_to_an_ipv4_destination_are_counted_exactly() {
    established_and_time_wait_are_counted_exactly("127.0.23.1:0");
}

#[test]
fn connections_to_an_ipv6_destination_are_counted_exactly() {
    established_and_time_wait_are_counted_exactly("[::1]:0");
}

#[test]
fn ipv6_sockets_with_ipv4_addresses_count_for_the_ipv4_destination() {
    let Some(listener) = listen("127.0.23.2:0") else { return };
    let target = listener.local_addr().unwrap();
    let Ok(socket) = Socket::new(Domain::IPV6, Type::STREAM, None) else {
        skip("IPv6");
        return;
    };
    let mapped: SocketAddr = format!("[::ffff:127.0.23.2]:{}", target.port()).parse().unwrap();
    if socket.set_only_v6(false).is_err() || socket.connect(&SockAddr::from(mapped)).is_err() {
        skip("IPv6 sockets that speak IPv4");
        return;
    }
    let _plain = TcpStream::connect(target).unwrap();
    for target in [target, mapped] {
        let b = sample(&mut *sampler("destination", Some(target)));
        assert_eq!(value(&b, Metric::DestEstablished, &target.to_string()), Some(2));
        assert_eq!(value(&b, Metric::PortsUsed, &target.to_string()), Some(2));
    }
}

#[test]
fn ports_are_counted_by_source_address_and_the_fullest_is_told() {
    let Some(listener) = listen("127.0.23.3:0") else { return };
    let target = listener.local_addr().unwrap();
    let from = |source: &str| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SockAddr::from(format!("{source}:0").parse::<SocketAddr>().unwrap())).unwrap();
        socket.connect(&SockAddr::from(target)).unwrap();
        socket
    };
    let _held: Vec<Socket> = ["127.0.24.1", "127.0.24.1", "127.0.24.1", "127.0.24.2"].map(from).into();
    let b = sample(&mut *sampler("destination", Some(target)));
    assert_eq!(value(&b, Metric::DestEstablished, &target.to_string()), Some(4));
    assert_eq!(value(&b, Metric::PortsUsed, &target.to_string()), Some(3));
}

#[test]
fn without_netlink_the_text_files_give_the_same_counts() {
    let Some(listener) = listen("127.0.23.6:0") else { return };
    let target = listener.local_addr().unwrap();
    let name = target.to_string();
    let _open: Vec<_> = (0..4).map(|_| connect(&listener)).collect();
    drop(connect(&listener));
    // Below a root that is not `/` netlink is not asked.
    let root = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/proc", root.path().join("proc")).unwrap();
    let mut setup = Setup::of_host(Some(target), None, Clock::start());
    setup.root = root.path().into();
    let row = SAMPLERS.iter().find(|r| r.name == "destination").unwrap();
    let mut by_text = (row.open)(&setup);
    let b = until(&mut *by_text, |b| value(b, Metric::DestTimeWait, &name) == Some(1));
    let b2 = sample(&mut *sampler("destination", Some(target)));
    assert_eq!(b.values, b2.values);
    assert_eq!(value(&b, Metric::DestEstablished, &name), Some(4));
    assert_eq!(value(&b, Metric::PortsUsed, &name), Some(5));
}

#[test]
fn a_full_accept_queue_and_the_connections_stuck_before_it_are_seen() {
    let address: SocketAddr = "127.0.23.4:0".parse().unwrap();
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    if listener.bind(&SockAddr::from(address)).is_err() {
        skip("to listen on 127.0.23.4");
        return;
    }
    listener.listen(2).unwrap();
    let target = listener.local_addr().unwrap().as_socket().unwrap();
    let name = target.to_string();
    // A backlog of 2 holds 3; what comes after gets no answer to its SYN.
    let clients: Vec<Socket> = (0..6)
        .map(|_| {
            let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            let _ = client.connect(&SockAddr::from(target)); // EINPROGRESS
            client
        })
        .collect();
    let mut destination = sampler("destination", Some(target));
    let b = until(&mut *destination, |b| value(b, Metric::DestSynSent, &name) == Some(3));
    assert_eq!(value(&b, Metric::DestSynSent, &name), Some(3));
    assert_eq!(value(&b, Metric::DestEstablished, &name), Some(3));
    assert_eq!(value(&b, Metric::PortsUsed, &name), Some(6));
    let mut sockets = sampler("sockets", Some(target));
    let b = sample(&mut *sockets);
    assert!(value(&b, Metric::TcpState, "SYN_SENT") >= Some(3));
    assert_eq!(value(&b, Metric::ListenQueue, &name), Some(3));
    assert_eq!(value(&b, Metric::ListenBacklog, &name), Some(2));
    drop(clients);
}

#[test]
fn every_tcp_state_is_there_each_time_with_the_names_of_ss() {
    let mut sockets = sampler("sockets", None);
    for _ in 0..2 {
        let b = sample(&mut *sockets);
        let mut names: Vec<&str> =
            b.values.iter().filter(|r| r.metric == Metric::TcpState).map(|r| &*r.instance).collect();
        names.sort_unstable();
        let all = [
            "CLOSE_WAIT",
            "CLOSING",
            "ESTAB",
            "FIN_WAIT1",
            "FIN_WAIT2",
            "LAST_ACK",
            "LISTEN",
            "SYN_RECV",
            "SYN_SENT",
            "TIME_WAIT",
        ];
        assert_eq!(names, all);
    }
}

/// The batches of `sampler` among the events of at most 4 s, until `good`.
fn watch_until(events: &Receiver<Event>, mut good: impl FnMut(&Event) -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(4);
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        match events.recv_timeout(left) {
            Ok(event) if good(&event) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    false
}

fn start(config: Config) -> (Watch, Receiver<Event>) {
    let (out, events) = sync_channel(4096);
    (Watch::start(config, Clock::start(), out), events)
}

#[test]
fn the_process_behind_a_port_is_found_read_and_missed_when_it_stops_listening() {
    let Some(listener) = listen("127.0.23.5:0") else { return };
    let own = std::process::id();
    let target = listener.local_addr().unwrap();
    let (watch, events) = start(Config { target: Some(target), ..Config::default() });
    let prefix = format!("{own} ");
    let threads = |e: &Event| match e {
        Event::Readings(r) => {
            r.values.iter().any(|v| v.metric == Metric::ProcThreads && v.instance.starts_with(&prefix))
        }
        _ => false,
    };
    assert!(watch_until(&events, threads), "no readings of process {own}");
    assert_eq!(watch.target_pids(), [own]);
    drop(listener);
    let gone = |e: &Event| matches!(e, Event::Fault(f) if f.what.contains("nothing listens"));
    assert!(watch_until(&events, gone));
    assert!(watch.targets().pids().is_empty());
}

#[test]
fn a_named_process_is_read_with_its_child_until_both_have_ended() {
    let mut parent = std::process::Command::new("sh").args(["-c", "sleep 60 & wait"]).spawn().unwrap();
    let (watch, events) = start(Config { pid: Some(parent.id()), ..Config::default() });
    let mut seen = std::collections::BTreeSet::new();
    let both = |e: &Event| {
        if let Event::Readings(r) = e {
            let of = r.values.iter().filter(|v| v.metric == Metric::ProcThreads && &*v.instance != "self");
            seen.extend(of.map(|v| v.instance.to_string()));
        }
        seen.iter().any(|i| i.ends_with(" sleep")) && seen.iter().any(|i| i.starts_with(&parent.id().to_string()))
    };
    let found = watch_until(&events, both);
    let pids = watch.target_pids();
    // The child first: its parent waits for it and then ends by itself.
    for pid in pids.iter().filter(|p| **p != parent.id()) {
        if let Some(pid) = i32::try_from(*pid).ok().and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
    }
    let _ = parent.wait();
    assert!(found, "seen {seen:?}");
    assert_eq!(pids.len(), 2);
    assert!(watch_until(&events, |e| matches!(e, Event::Fault(f) if f.what.contains("has ended"))));
}

#[test]
fn the_first_two_readings_come_quickly_and_stop_is_quick() {
    let began = Instant::now();
    let (watch, events) = start(Config::default());
    let mut cpu: Vec<Readings> = Vec::new();
    let two = |e: &Event| {
        if let Event::Readings(r) = e
            && &*r.sampler == "cpu"
        {
            cpu.push(r.clone());
        }
        cpu.len() >= 2
    };
    assert!(watch_until(&events, two));
    assert!(began.elapsed() < Duration::from_millis(450), "{:?}", began.elapsed());
    let apart = cpu[1].at.since_ns(cpu[0].at);
    assert!((200_000_000..400_000_000).contains(&apart), "{apart}");
    let stopping = Instant::now();
    watch.stop();
    assert!(stopping.elapsed() < Duration::from_millis(100), "{:?}", stopping.elapsed());
    assert!(events.try_iter().all(|e| !matches!(e, Event::Fault(Fault { place, .. }) if place == "host")));
}

#[test]
fn cpu_time_of_each_core_adds_up_to_the_wall_time() {
    let ticks_per_s = f64::from(perfbench::host::facts().ticks_per_s);
    let mut cpu = sampler("cpu", None);
    let (first, began) = (sample(&mut *cpu), Instant::now());
    std::thread::sleep(Duration::from_millis(1500));
    let (second, wall) = (sample(&mut *cpu), began.elapsed().as_secs_f64());
    let modes = [
        Metric::CpuUser,
        Metric::CpuNice,
        Metric::CpuSystem,
        Metric::CpuIdle,
        Metric::CpuIowait,
        Metric::CpuIrq,
        Metric::CpuSoftirq,
        Metric::CpuSteal,
    ];
    let cpus: Vec<&str> = first.values.iter().filter(|r| r.metric == Metric::CpuUser).map(|r| &*r.instance).collect();
    assert_eq!(cpus.len(), perfbench::host::facts().cpus as usize);
    for c in cpus {
        let sum: i64 = modes.iter().map(|m| value(&second, *m, c).unwrap() - value(&first, *m, c).unwrap()).sum();
        let seconds = sum as f64 / ticks_per_s;
        assert!((seconds - wall).abs() < 0.25 * wall, "cpu {c}: {seconds} of {wall} s");
    }
    assert!(value(&second, Metric::ContextSwitches, "") > value(&first, Metric::ContextSwitches, ""));
}

#[test]
fn every_sampler_reads_this_host_without_a_fault() {
    for row in SAMPLERS {
        let mut out = Batch::default();
        let result = (row.open)(&Setup::of_host(None, None, Clock::start())).sample(&mut out);
        assert!(result.is_ok() && out.faults.is_empty(), "{}: {result:?} {:?}", row.name, out.faults);
    }
}
