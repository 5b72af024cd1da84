//! Whole scenarios: files read and refused, users going through their flows.
//!
//! Must not: need a file outside the project.

use super::*;
use crate::model::Body;
use crate::traffic::Reader;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};

fn open(text: &str) -> Scenario {
    Scenario::parse(text, "s.toml").unwrap_or_else(|e| panic!("{e}"))
}

fn refused(text: &str) -> String {
    Scenario::parse(text, "s.toml").err().unwrap_or_else(|| panic!("opened: {text}")).to_string()
}

/// Does what a user does next, past its pauses; `None` at its end.
fn send(s: &Scenario, user: &mut User) -> Option<Request> {
    let mut request = Reader::blank();
    for _ in 0..3 {
        match s.next(user, &mut request) {
            Next::Send => return Some(request),
            Next::Think(_) => {}
            Next::Ended => return None,
        }
    }
    panic!("nothing but pauses");
}

fn answer(status: u16, head: &'static str, body: &'static str) -> Answer<'static> {
    Answer { status, head: head.as_bytes(), body: body.as_bytes(), is_cut: false, is_of_head: false }
}

fn body(r: &Request) -> String {
    String::from_utf8(r.body.0.clone()).unwrap()
}

/// The first `n` request lines of user 0.
fn lines(text: &str, n: usize) -> Vec<String> {
    let s = open(text);
    let mut user = s.user(0, 1);
    (0..n).map_while(|_| send(&s, &mut user)).map(|r| format!("{} {}", r.method, r.path)).collect()
}

#[test]
fn every_example_opens_and_says_what_it_is() {
    for (name, text) in EXAMPLES {
        let s = Scenario::named(Path::new(&format!("example:{name}"))).unwrap_or_else(|e| panic!("{e}"));
        assert!(*name == "minimal" || !s.about().is_empty(), "{name}");
        assert!(text.starts_with("# "), "{name} explains itself");
        let mut user = s.user(0, 0);
        let request = send(&s, &mut user).unwrap();
        assert!(request.path.starts_with('/') && !s.routes().is_empty());
    }
    let e = Scenario::named(Path::new("example:nope")).unwrap_err().to_string();
    assert!(e.contains("transfers-random"), "{e}");
}

#[test]
fn the_two_loads_of_hot_accounts_differ_in_whom_they_hit() {
    let pairs = |name: &str| {
        let s = Scenario::named(Path::new(name)).unwrap();
        assert_eq!(s.drive(), Drive::Users { count: 100, ramp_ns: 0 });
        assert_eq!(s.routes(), ["/transfers"]);
        let mut pairs = HashSet::new();
        for number in 0..100 {
            let mut user = s.user(number, 7);
            for _ in 0..10 {
                let r = send(&s, &mut user).unwrap();
                assert_eq!((r.method.as_str(), &*r.path), ("POST", "/transfers"));
                assert_eq!(r.headers, [("Content-Type".into(), "application/json".into())]);
                let json: serde_json::Value = serde_json::from_slice(&r.body.0).unwrap();
                let account = |k: &str| json[k].as_u64().unwrap();
                assert!((1..=1000).contains(&account("from")) && (1..=1000).contains(&account("to")));
                assert_ne!(account("from"), account("to"), "nobody pays themselves");
                assert!(json["amount"].as_f64().is_some_and(|a| (0.01..=100.0).contains(&a)));
                pairs.insert((account("from"), account("to")));
                assert!(s.wants(&user).body && !s.wants(&user).head);
                assert_eq!(s.answered(&mut user, &answer(200, "", r#"{"ok": true}"#)), Ok(()));
                assert_eq!(s.answered(&mut user, &answer(200, "", r#"{"ok": false}"#)), Err(CheckKind::Json));
                assert_eq!(s.answered(&mut user, &answer(500, "", "")), Err(CheckKind::Status));
            }
        }
        pairs.len()
    };
    assert!(pairs("example:transfers-random") > 950);
    assert_eq!(pairs("example:transfers-point-to-point"), 1);
}

#[test]
fn a_user_logs_in_once_and_uses_what_it_was_given() {
    let s = Scenario::named(Path::new("example:login")).unwrap();
    let mut user = s.user(4, 1);
    assert_eq!(s.next(&mut user, &mut Reader::blank()), Next::Think(400_000_000), "user 4 of 20 in a ramp of 2 s");
    let login = send(&s, &mut user).unwrap();
    assert_eq!((&*login.path, body(&login)), ("/login", r#"{"user": "user5", "password": "secret5"}"#.into()));
    assert_eq!(s.answered(&mut user, &answer(200, "", r#"{"token": "a b\r\nX: y"}"#)), Ok(()));
    for _ in 0..3 {
        let list = send(&s, &mut user).unwrap();
        let item = list.path.strip_prefix("/items?near=").unwrap().to_owned();
        let field = |r: &Request, name: &str| r.headers.iter().find(|(n, _)| n == name).unwrap().1.clone();
        assert_eq!(field(&list, "Authorization"), "Bearer a b  X: y", "a token can't smuggle a field");
        assert_eq!(s.answered(&mut user, &answer(200, "", r#"{"items": [{"id": 1}]}"#)), Ok(()));
        assert!(matches!(s.next(&mut user, &mut Reader::blank()), Next::Think(_)));
        let look = send(&s, &mut user).unwrap();
        assert_eq!(look.path, format!("/items/{item}"), "one item for the whole flow");
        assert_eq!(&*look.route.name, "/items/{}");
        let own = format!("{{\"id\": {item}}}");
        let answered = Answer {
            status: 200,
            head: b"HTTP/1.1 200 OK\r\nETag: \"v1\"\r\n",
            body: own.as_bytes(),
            is_cut: false,
            is_of_head: false,
        };
        assert_eq!(s.answered(&mut user, &answered), Ok(()));
        let buy = send(&s, &mut user).unwrap();
        assert_eq!((&*buy.route.name, &*field(&buy, "If-Match")), ("buy", "\"v1\""));
        assert_eq!(s.answered(&mut user, &answer(409, "", "")), Ok(()));
    }
}

#[test]
fn a_flow_whose_capture_fails_starts_over_and_an_arrival_ends() {
    let text = r#"
        users = 1
        [[step]]
        once = true
        request = "POST /login"
        capture = { token = { json = "t" } }
        [[step]]
        request = "GET /a?t={{token}}"
        capture = { next = { header = "Location" } }
        [[step]]
        request = "GET {{next|raw}}"
    "#;
    let s = open(text);
    assert_eq!(s.routes(), ["/login", "/a", "/{}"]);
    let mut user = s.user(0, 1);
    let mut step = |path: &str, with: Option<Answer<'_>>| {
        assert_eq!(send(&s, &mut user).unwrap().path, path);
        match with {
            Some(a) => s.answered(&mut user, &a),
            None => {
                s.unanswered(&mut user);
                Ok(())
            }
        }
    };
    assert_eq!(step("/login", Some(answer(200, "", "{}"))), Err(CheckKind::Capture));
    assert_eq!(step("/login", None), Ok(()));
    let cut = Answer { is_cut: true, ..answer(200, "", "{\"t\": 1") };
    assert_eq!(step("/login", Some(cut)), Err(CheckKind::Cut));
    assert_eq!(step("/login", Some(answer(200, "", r#"{"t": 7}"#))), Ok(()));
    assert_eq!(step("/a?t=7", Some(answer(200, "", ""))), Err(CheckKind::Capture));
    let away = "HTTP/1.1 302 Found\r\nLocation: http://other:81/x?y=1\r\n";
    assert_eq!(step("/a?t=7", Some(answer(302, away, ""))), Ok(()));
    assert_eq!(step("/x?y=1", Some(answer(200, "", ""))), Ok(()));
    assert_eq!(step("/a?t=7", None), Ok(()));
    assert_eq!(step("/a?t=7", None), Ok(()));

    let mut s = open(text);
    s.set_drive(Drive::Arrivals { per_s: 5.0 });
    let mut user = s.user(0, 1);
    let mut flow = |token: &'static str, number| {
        let mut sent = 0;
        while send(&s, &mut user).is_some() {
            sent += 1;
            let _ = s.answered(&mut user, &answer(200, "HTTP/1.1 200 OK\r\nLocation: /z\r\n", token));
        }
        s.renew(&mut user, number, 1);
        sent
    };
    assert_eq!((flow(r#"{"t": 1}"#, 1), flow("", 2), flow(r#"{"t": 2}"#, 3)), (3, 1, 3));
}

#[test]
fn steps_follow_each_other_or_are_drawn_by_weight() {
    let steps = r#"
        [[step]]
        request = "GET /a"
        repeat = 2
        [[step]]
        request = "GET /b"
    "#;
    assert_eq!(lines(steps, 7), ["GET /a", "GET /a", "GET /b", "GET /a", "GET /a", "GET /b", "GET /a"]);
    assert_eq!(lines(&format!("repeat = 2\n{steps}"), 9).len(), 6);
    assert_eq!(lines(&format!("arrivals = \"5/s\"\n{steps}"), 9).len(), 3);

    let s = Scenario::named(Path::new("example:arrivals")).unwrap();
    assert_eq!(s.drive(), Drive::Arrivals { per_s: 50.0 });
    let mut user = s.user(0, 1);
    let mut counts: BTreeMap<String, f64> = BTreeMap::new();
    let (mut hot, mut accounts) = (0.0, 0.0);
    for number in 0..20_000 {
        s.renew(&mut user, number, 1);
        let r = send(&s, &mut user).unwrap();
        assert!(send(&s, &mut user).is_none(), "by weight an arrival is one request");
        *counts.entry(r.method.to_string() + " " + &r.route.name).or_default() += 1.0 / 20_000.0;
        if let Some(account) = r.path.strip_prefix("/accounts/") {
            accounts += 1.0;
            hot += f64::from(u8::from(account.split('/').next() == Some("1")));
        }
    }
    let wanted = [
        ("GET /accounts/{}", 0.7),
        ("GET /search", 0.2),
        ("PUT /accounts/{}/note", 0.09),
        ("DELETE /accounts/{}/note", 0.01),
    ];
    for (route, share) in wanted {
        assert!((counts[route] - share).abs() < 0.01, "{route}: {counts:?}");
    }
    assert!((hot / accounts - 0.2).abs() < 0.01, "{}", hot / accounts);
}

#[test]
fn values_are_kept_as_long_as_the_file_says() {
    let text = |each: &str| {
        format!(
            "repeat = 50\n[vars]\nx = {{ range = [1, 1000000], each = \"{each}\" }}\n\
             [[step]]\nrequest = \"GET /{{{{x}}}}/{{{{x}}}}\"\n[[step]]\nrequest = \"GET /{{{{x}}}}/{{{{x}}}}\"\n"
        )
    };
    let different = |each: &str| {
        let all = lines(&text(each), 100);
        for line in &all {
            let mut parts = line.trim_start_matches("GET /").split('/');
            assert_eq!(parts.next(), parts.next(), "one value in one request");
        }
        all.iter().collect::<HashSet<_>>().len()
    };
    assert!(different("request") > 98);
    assert_eq!(different("user"), 1);
    assert!((49..=50).contains(&different("flow")));
}

#[test]
fn the_same_seed_makes_the_same_choices_and_another_one_others() {
    let text = r#"
        think = "uniform(1ms, 9s)"
        [vars]
        x = { range = [1, 1000000000] , draw = "zipf(0.5)" }
        [[step]]
        request = "GET /{{x}}/{{uuid}}"
    "#;
    let run = |number, seed| {
        let s = open(text);
        let (mut user, mut r) = (s.user(number, seed), Reader::blank());
        (0..20).map(|_| (s.next(&mut user, &mut r), r.path.clone())).collect::<Vec<_>>()
    };
    assert_eq!(run(3, 9), run(3, 9));
    assert_ne!(run(3, 9), run(4, 9));
    assert_ne!(run(3, 9), run(3, 10));
}

#[test]
fn rows_of_a_csv_are_taken_in_turn_at_random_or_by_user() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("u.csv"), "name;pass word\nann;1\nbob;2\ncarl;3\n").unwrap();
    let take = |how: &str, users: u64, each: usize| {
        let text = format!(
            "[vars]\nu = {{ csv = \"u.csv\", separator = \";\", {how} }}\n[[step]]\nrequest = \"GET /{{{{u.name}}}}/{{{{u.pass word}}}}\"\n"
        );
        let path = folder.path().join("s.toml");
        std::fs::write(&path, text).unwrap();
        let s = Scenario::open(&path).unwrap();
        let mut all = Vec::new();
        for number in 0..users {
            let mut user = s.user(number, 1);
            all.extend((0..each).map_while(|_| send(&s, &mut user)).map(|r| r.path[1..].to_owned()));
        }
        all
    };
    assert_eq!(take("draw = 'sequential'", 2, 2), ["ann/1", "bob/2", "carl/3", "ann/1"]);
    assert_eq!(take("draw = 'sequential', at_end = 'stop'", 2, 2), ["ann/1", "bob/2", "carl/3"]);
    assert_eq!(
        take("draw = 'per user'", 4, 2),
        ["ann/1", "ann/1", "bob/2", "bob/2", "carl/3", "carl/3", "ann/1", "ann/1"]
    );
    let random: HashSet<String> = take("draw = 'random'", 1, 100).into_iter().collect();
    assert_eq!(random.len(), 3, "a name and its password come from one row: {random:?}");
}

#[test]
fn a_body_may_come_from_a_file_and_a_host_from_a_header() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("b.bin"), b"\x00{{x}}\xff").unwrap();
    let path = folder.path().join("s.toml");
    let text = "[[step]]\nrequest = 'POST /a'\nbody_file = 'b.bin'\nheaders = { Host = 'shop.example' }\n\
                [[step]]\nrequest = 'GET /b?q=ä'\n";
    std::fs::write(&path, text).unwrap();
    let s = Scenario::open(&path).unwrap();
    let (mut user, mut r) = (s.user(0, 0), Reader::blank());
    for _ in 0..2 {
        assert_eq!(s.next(&mut user, &mut r), Next::Send);
        assert_eq!((r.host.as_deref(), &r.body), (Some("shop.example"), &Body(b"\x00{{x}}\xff".to_vec())));
        assert_eq!(s.next(&mut user, &mut r), Next::Send);
        assert_eq!((r.host.as_deref(), &r.body, &*r.path), (None, &Body::default(), "/b?q=%C3%A4"));
    }
}

#[test]
fn whatever_is_wrong_is_told_with_its_place() {
    let step = "[[step]]\nrequest = \"GET /\"\n";
    for (text, place, what) in [
        ("", "1:1", "there is no [[step]]"),
        ("users = 5\nuser = 6\n[[step]]\nrequest = \"GET /\"", "2:1", "no key 'user' here; did you mean 'users'?"),
        ("users = \n", "1:9", ""),
        ("[[step]]\nrequest = \"GET /{{idd}}\"\n[vars]\nid = 1", "2:19", "nothing is called 'idd'; did you mean 'id'?"),
        ("[[step]]\nrequest = \"GET /{{x\"", "2:17", "{{ is not closed"),
        ("[[step]]\nrequest = \"get /\"", "2:11", "in capitals"),
        ("[[step]]\nrequest = \"GET http://h/\"", "2:11", "does not begin with /"),
        ("[[step]]\nrequest = \"GET /a b\"", "2:16", "white space; write %20"),
        ("[[step]]\nrequest = \"GET /#a\"", "2:16", "fragments are not sent"),
        ("[[step]]\nreqest = \"GET /\"", "2:1", "did you mean 'request'?"),
        ("[step]\nrequest = \"GET /\"", "1:1", "[[step]], with two brackets"),
        ("[[step]]\nroute = \"x\"", "1:1", "a step needs a request"),
        ("users = 0\n[[step]]\nrequest = \"GET /\"", "1:9", "a number from 1 to"),
        ("users = 1\narrivals = \"5/s\"\n[[step]]\nrequest = \"GET /\"", "2:12", "not both"),
        ("arrivals = \"5\"\n[[step]]\nrequest = \"GET /\"", "1:12", "'5' is no rate"),
        ("think = \"soon\"\n[[step]]\nrequest = \"GET /\"", "1:9", "no think time"),
        ("[vars]\nx = { rang = [1, 2] }\n[[step]]\nrequest = \"GET /\"", "2:7", "did you mean 'range'?"),
        ("[vars]\nx = { range = [2, 1] }\n[[step]]\nrequest = \"GET /\"", "2:15", "the lower end"),
        ("[vars]\nx = { range = [1, 2], draw = \"zip(1)\" }\n[[step]]\nrequest = \"GET /\"", "2:30", "zipf(1.1)"),
        ("[vars]\nx = { range = [1, 2], draw = \"zipf(-1)\" }\n[[step]]\nrequest = \"GET /\"", "2:30", "from 0 to 20"),
        ("[vars]\nx = { csv = \"none.csv\" }\n[[step]]\nrequest = \"GET /\"", "2:13", "no such file"),
        ("[vars]\nseq = 1\n[[step]]\nrequest = \"GET /\"", "2:1", "always there"),
        ("[vars]\n\"a b\" = 1\n[[step]]\nrequest = \"GET /\"", "2:1", "is no name"),
        (
            "[vars]\na = { range = [1, 2], except = \"b\" }\nb = { range = [1, 2], except = \"a\" }\n[[step]]\nrequest = \"GET /\"",
            "2:5",
            "differ from itself",
        ),
        (
            "[vars]\na = { range = [1, 1], except = \"b\" }\nb = 1\n[[step]]\nrequest = \"GET /\"",
            "2:5",
            "one value only",
        ),
        (
            "[[step]]\nrequest = \"GET /{{t}}\"\n[[step]]\nrequest = \"GET /\"\ncapture = { t = { json = \"t\" } }",
            "1:1",
            "before it is captured",
        ),
        ("[[step]]\nweight = 1\nrequest = \"GET /{{t}}\"\ncapture = { t = { json = \"t\" } }", "1:1", "once = true"),
        ("[[step]]\nweight = 1\nrequest = \"GET /\"\n[[step]]\nrequest = \"GET /\"", "4:1", "no weight"),
        (
            "[vars]\na = { range = [1, 9] }\n[[step]]\nrequest = \"GET /{{a}}\"\n[[step]]\nrequest = \"PUT /{{a}}\"",
            "5:1",
            "each = \"flow\"",
        ),
        (
            "[headers]\nContent-Type = \"application/json\"\n[[step]]\nrequest = \"POST /\"\nbody = '{\"a\": {{user}}'",
            "5:8",
            "is none",
        ),
        ("[headers]\nContent-Length = 5\n[[step]]\nrequest = \"GET /\"", "2:1", "written by the engine"),
        ("[headers]\nX = \"a\\nb\"\n[[step]]\nrequest = \"GET /\"", "2:5", "no control characters"),
        ("[[step]]\nrequest = \"GET /\"\nexpect = { status = \"2x\" }", "3:21", "'2x' is no status"),
        ("[[step]]\nrequest = \"GET /\"\nexpect = { json = { \"a[\" = 1 } }", "3:21", "no path to a JSON value"),
        ("[[step]]\nrequest = \"GET /\"\nexpect = { body_matches = \"(\" }", "3:27", "unclosed group"),
        ("[[step]]\nrequest = \"GET /\"\ncapture = { t = { } }", "3:17", "a capture is one of"),
        ("[[step]]\nrequest = \"GET /\"\ncapture = { t = { jsn = \"a\" } }", "3:19", "did you mean 'json'?"),
    ] {
        let e = refused(text);
        assert!(e.starts_with(&format!("s.toml:{place}: ")) && e.contains(what), "{text}\n{e}");
        assert!(!e.contains('\n'));
    }
    open(step);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.toml");
    assert!(Scenario::open(&path).unwrap_err().to_string().contains("no such file"));
    std::fs::write(&path, b"a = \"\xff\"").unwrap();
    assert!(
        Scenario::open(&path)
            .unwrap_err()
            .to_string()
            .ends_with("x.toml:1:6: this is not UTF-8; is it a scenario file?")
    );
    std::fs::write(&path, vec![b'#'; 2 << 20]).unwrap();
    assert!(Scenario::open(&path).unwrap_err().to_string().contains("longer than 1 MiB"));
}

#[test]
fn keys_of_a_json_expectation_may_be_nested_as_toml_has_it() {
    for fields in ["{ a.b = 1, c = true }", "{ a = { b = 1 }, c = true }", "{ \"a.b\" = 1, \"$.c\" = true }"] {
        let s = open(&format!("[[step]]\nrequest = \"GET /\"\nexpect.json = {fields}"));
        let mut user = s.user(0, 0);
        send(&s, &mut user).unwrap();
        assert_eq!(s.answered(&mut user, &answer(200, "", r#"{"a": {"b": 1.0}, "c": true}"#)), Ok(()), "{fields}");
        assert_eq!(s.answered(&mut user, &answer(200, "", r#"{"a": {"b": 2}, "c": true}"#)), Err(CheckKind::Json));
        assert_eq!(s.answered(&mut user, &answer(200, "", "<html>")), Err(CheckKind::Json));
    }
}

#[test]
fn a_keyspace_of_any_size_is_never_held() {
    let s = open(
        "[vars]\na = { range = [1, 1_000_000_000_000], draw = \"zipf(1.2)\" }\n\
         b = { range = [-9223372036854775808, 9223372036854775806] }\n\
         [[step]]\nrequest = \"GET /{{a}}/{{b}}\"",
    );
    let mut user = s.user(0, 0);
    let ones = (0..1000).filter(|_| send(&s, &mut user).unwrap().path.starts_with("/1/")).count();
    assert!((100..400).contains(&ones), "{ones}");
}

/// A scenario is opened, and whatever opened is gone through.
fn go_through(text: &str) {
    let Ok(s) = Scenario::parse(text, "s.toml") else { return };
    let mut r = Reader::blank();
    for number in [0, 1, u64::MAX] {
        let mut user = s.user(number, 5);
        for n in 0..30 {
            if s.next(&mut user, &mut r) == Next::Send {
                assert!(r.path.starts_with('/') && r.path.bytes().all(|b| b > 0x20 && b < 0x7f), "{}", r.path);
                assert!(r.headers.iter().all(|(n, v)| !n.contains(['\r', '\n']) && !v.contains(['\r', '\n'])));
                match n % 3 {
                    0 => s.unanswered(&mut user),
                    1 => drop(s.answered(
                        &mut user,
                        &answer(200, "HTTP/1.1 200 OK\r\nLocation: x\r\n", "{\"token\": \"\\r\\n\"}"),
                    )),
                    _ => drop(s.answered(&mut user, &answer(500, "", "\u{0}"))),
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn any_text_opens_or_is_refused(text in "[a-z\\[\\]{}=\"'\\n .0-9|/]{0,120}") {
        go_through(&text);
    }

    #[test]
    fn an_example_with_any_damage_opens_or_is_refused(which in 0..EXAMPLES.len(), at in any::<prop::sample::Index>(), cut in 0usize..20, with in "\\PC{0,8}") {
        let text = EXAMPLES[which].1;
        let chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len());
        let damaged: String = chars[..at].iter().copied().chain(with.chars()).chain(chars[(at + cut).min(chars.len())..].iter().copied()).collect();
        go_through(&damaged);
    }

    #[test]
    fn any_value_stays_in_its_place(value in any::<String>()) {
        let s = open("[[step]]\nrequest = 'GET /'\ncapture = { v = { json = 'v' } }\n\
            [[step]]\nrequest = 'POST /{{v}}?{{v|raw}}'\nheaders = { X = '{{v}}', Content-Type = 'application/json' }\nbody = '[\"{{v}}\"]'\n\
            [[step]]\nrequest = 'GET {{v|raw}}'");
        let mut user = s.user(0, 0);
        send(&s, &mut user);
        let document = serde_json::json!({ "v": value }).to_string();
        s.answered(&mut user, &Answer { status: 200, head: b"", body: document.as_bytes(), is_cut: false, is_of_head: false }).unwrap();
        let r = send(&s, &mut user).unwrap();
        prop_assert!(r.path.bytes().all(|b| b.is_ascii_graphic()));
        prop_assert!(r.headers.iter().all(|(_, v)| !v.bytes().any(|b| b == b'\r' || b == b'\n' || b == 0)));
        prop_assert_eq!(serde_json::from_slice::<Vec<String>>(&r.body.0).unwrap(), [value]);
        let r = send(&s, &mut user).unwrap();
        prop_assert!(r.path.starts_with('/') && r.path.bytes().all(|b| b.is_ascii_graphic()));
    }
}

#[test]
fn every_scenario_in_the_documentation_opens() {
    let text = include_str!("../../../docs/scenarios.md");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("accounts.csv"), "name,password\nann,1\n").unwrap();
    let blocks: Vec<&str> = text.split("```toml\n").skip(1).map(|b| b.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 6);
    for block in blocks {
        let path = folder.path().join("s.toml");
        std::fs::write(&path, block).unwrap();
        let s = Scenario::open(&path).unwrap_or_else(|e| panic!("{block}\n{e}"));
        assert!(send(&s, &mut s.user(0, 0)).is_some());
    }
    // What the file's keys are called, all of them.
    for key in super::file::ALL_KEYS.iter().flat_map(|keys| keys.iter()) {
        assert!(
            text.contains(&format!("{key} = "))
                || text.contains(&format!("`{key}`"))
                || text.contains(&format!("[{key}]")),
            "{key} is not documented"
        );
    }
}
