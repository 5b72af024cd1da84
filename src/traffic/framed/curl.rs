//! Files of curl command lines, as a browser's "copy as cURL" and API documentation give them.
//! They have no times.
//!
//! What curl would put into the request is put into it: method, URL, header fields, body. What only
//! says how curl connects or prints is passed over. What the request cannot be made without (a
//! file, a form, an option nobody knows) makes the command a skipped one, counted by its reason.
//!
//! Must not: run anything, or read a file that no command names.

use super::super::ledger::Reason;
use super::shell::{Command, command};
use super::{Framing, Message, NO_TIME, Referred, Resync, Step, line, next_line_that};
use base64::Engine as _;
use std::path::Path;

/// What an option of curl is to a replay; see curl(1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Method,
    Header,
    Cookie,
    User,
    Agent,
    Referer,
    Head,
    Get,
    Url,
    Compressed,
    Data,
    DataRaw,
    DataBinary,
    DataUrlencode,
    Json,
    Bearer,
    /// Says how to connect or what to print.
    Nothing,
    /// The same with a value.
    NothingValue,
    /// Makes a request that is not made here.
    Refused,
}

/// The options of curl that are understood: name, letter, meaning.
#[rustfmt::skip]
const OPTIONS: &[(&str, char, Does)] = {
    use Does::*;
    &[
        ("request", 'X', Method), ("header", 'H', Header), ("cookie", 'b', Cookie), ("user", 'u', User),
        ("user-agent", 'A', Agent), ("referer", 'e', Referer), ("head", 'I', Head), ("get", 'G', Get),
        ("url", '\0', Url), ("compressed", '\0', Compressed), ("data", 'd', Data), ("data-ascii", '\0', Data),
        ("data-raw", '\0', DataRaw), ("data-binary", '\0', DataBinary), ("data-urlencode", '\0', DataUrlencode),
        ("json", '\0', Json), ("oauth2-bearer", '\0', Bearer),
        ("insecure", 'k', Nothing), ("location", 'L', Nothing), ("silent", 's', Nothing), ("show-error", 'S', Nothing),
        ("verbose", 'v', Nothing), ("include", 'i', Nothing), ("show-headers", '\0', Nothing), ("fail", 'f', Nothing),
        ("fail-with-body", '\0', Nothing), ("globoff", 'g', Nothing), ("no-buffer", 'N', Nothing),
        ("disable", 'q', Nothing), ("progress-bar", '#', Nothing), ("http1.0", '0', Nothing),
        ("http1.1", '\0', Nothing), ("http2", '\0', Nothing), ("http2-prior-knowledge", '\0', Nothing),
        ("http3", '\0', Nothing), ("tlsv1", '1', Nothing), ("tlsv1.2", '\0', Nothing), ("tlsv1.3", '\0', Nothing),
        ("ipv4", '4', Nothing), ("ipv6", '6', Nothing), ("remote-name", 'O', Nothing),
        ("remote-header-name", 'J', Nothing), ("create-dirs", '\0', Nothing), ("location-trusted", '\0', Nothing),
        ("no-progress-meter", '\0', Nothing), ("no-keepalive", '\0', Nothing), ("path-as-is", '\0', Nothing),
        ("tcp-nodelay", '\0', Nothing), ("basic", '\0', Nothing), ("raw", '\0', Nothing),
        ("parallel", 'Z', Nothing), ("junk-session-cookies", 'j', Nothing), ("ssl-reqd", '\0', Nothing),
        ("output", 'o', NothingValue), ("write-out", 'w', NothingValue), ("max-time", 'm', NothingValue),
        ("connect-timeout", '\0', NothingValue), ("cacert", '\0', NothingValue), ("capath", '\0', NothingValue),
        ("cert", 'E', NothingValue), ("key", '\0', NothingValue), ("ciphers", '\0', NothingValue),
        ("resolve", '\0', NothingValue), ("connect-to", '\0', NothingValue), ("proxy", 'x', NothingValue),
        ("proxy-user", 'U', NothingValue), ("noproxy", '\0', NothingValue), ("interface", '\0', NothingValue),
        ("retry", '\0', NothingValue), ("retry-delay", '\0', NothingValue), ("retry-max-time", '\0', NothingValue),
        ("max-redirs", '\0', NothingValue), ("limit-rate", '\0', NothingValue), ("dump-header", 'D', NothingValue),
        ("cookie-jar", 'c', NothingValue), ("stderr", '\0', NothingValue), ("trace", '\0', NothingValue),
        ("trace-ascii", '\0', NothingValue), ("unix-socket", '\0', NothingValue),
        ("speed-limit", 'Y', NothingValue), ("speed-time", 'y', NothingValue),
        ("keepalive-time", '\0', NothingValue), ("max-filesize", '\0', NothingValue),
        ("form", 'F', Refused), ("form-string", '\0', Refused), ("upload-file", 'T', Refused),
        ("config", 'K', Refused), ("next", ':', Refused), ("digest", '\0', Refused), ("ntlm", '\0', Refused),
        ("negotiate", '\0', Refused), ("aws-sigv4", '\0', Refused), ("range", 'r', Refused),
    ]
};

impl Does {
    fn takes_value(self) -> bool {
        use Does::{Compressed, Get, Head, Nothing, Refused};
        !matches!(self, Head | Get | Compressed | Nothing | Refused)
    }
}

/// A file of command lines being read.
pub(in crate::traffic) struct Curl {
    message: Message,
    files: Referred,
    said: Said,
}

/// What the words of one command say.
#[derive(Default)]
struct Said {
    method: Option<Vec<u8>>,
    url: Option<Vec<u8>>,
    headers: Vec<Vec<u8>>,
    cookies: Vec<u8>,
    user: Option<Vec<u8>>,
    bearer: Option<Vec<u8>>,
    agent: Option<Vec<u8>>,
    referer: Option<Vec<u8>>,
    body: Option<Vec<u8>>,
    head: bool,
    get: bool,
    compressed: bool,
    json: bool,
}

impl Curl {
    /// At its start.
    pub(in crate::traffic) fn start(folder: Option<&Path>) -> Box<dyn Framing> {
        Box::new(Curl { message: Message::default(), files: Referred::new(folder), said: Said::default() })
    }

    fn understand(&mut self, words: &[Vec<u8>]) -> Result<(), Reason> {
        self.said = Said::default();
        let mut words = words.iter().skip(1);
        let mut options_over = false;
        while let Some(word) = words.next() {
            match &word[..] {
                b"--" if !options_over => options_over = true,
                [b'-', b'-', name @ ..] if !options_over => {
                    let long = OPTIONS.iter().find(|(n, _, _)| n.as_bytes() == name);
                    let does =
                        long.map(|(_, _, does)| *does).or_else(|| name.starts_with(b"no-").then_some(Does::Nothing));
                    let does = does.ok_or(Reason::CurlOption)?;
                    let value = if does.takes_value() { words.next().ok_or(Reason::CurlOption)? } else { &b""[..] };
                    self.take(does, value)?;
                }
                [b'-', letters @ ..] if !options_over && !letters.is_empty() => {
                    for (n, letter) in letters.iter().enumerate() {
                        let short = OPTIONS.iter().find(|(_, l, _)| *l == char::from(*letter) && *l != '\0');
                        let does = short.map(|(_, _, does)| *does).ok_or(Reason::CurlOption)?;
                        if !does.takes_value() {
                            self.take(does, b"")?;
                            continue;
                        }
                        let joined = &letters[n + 1..];
                        let value = if joined.is_empty() { words.next().ok_or(Reason::CurlOption)? } else { joined };
                        self.take(does, value)?;
                        break;
                    }
                }
                url => self.take(Does::Url, url)?,
            }
        }
        self.put()
    }

    fn take(&mut self, does: Does, value: &[u8]) -> Result<(), Reason> {
        let said = &mut self.said;
        match does {
            Does::Nothing | Does::NothingValue => {}
            Does::Refused => return Err(Reason::CurlOption),
            Does::Method => said.method = Some(value.to_vec()),
            Does::Header if value.starts_with(b"@") => return Err(Reason::CurlOption),
            Does::Header => said.headers.push(value.to_vec()),
            // Without an equals sign it names a file of a browser's cookies.
            Does::Cookie if !value.contains(&b'=') => return Err(Reason::CurlOption),
            Does::Cookie => {
                if !said.cookies.is_empty() {
                    said.cookies.extend_from_slice(b"; ");
                }
                said.cookies.extend_from_slice(value);
            }
            Does::User => said.user = Some(value.to_vec()),
            Does::Bearer => said.bearer = Some(value.to_vec()),
            Does::Agent => said.agent = Some(value.to_vec()),
            Does::Referer => {
                let referer = value.strip_suffix(b";auto").unwrap_or(value);
                said.referer = Some(referer.to_vec()).filter(|r| !r.is_empty());
            }
            Does::Head => said.head = true,
            Does::Get => said.get = true,
            Does::Compressed => said.compressed = true,
            Does::Url if said.url.is_some() => return Err(Reason::CurlUrls),
            Does::Url => said.url = Some(value.to_vec()),
            Does::DataRaw => said.add(value, b"&"),
            Does::Data => match value.strip_prefix(b"@") {
                Some(file) => {
                    // As curl does: a file of lines becomes one line.
                    let content = self.files.read(file)?;
                    let content: Vec<u8> = content.iter().copied().filter(|b| !b"\r\n\0".contains(b)).collect();
                    self.said.add(&content, b"&");
                }
                None => said.add(value, b"&"),
            },
            Does::DataBinary | Does::Json => {
                let between: &[u8] = if does == Does::Json { b"" } else { b"&" };
                said.json |= does == Does::Json;
                match value.strip_prefix(b"@") {
                    Some(file) => said.add(self.files.read(file)?, between),
                    None => said.add(value, between),
                }
            }
            Does::DataUrlencode => {
                // content, =content, name=content, @file, name@file
                let mut encoded = Vec::new();
                let content = match value.iter().position(|b| matches!(b, b'=' | b'@')) {
                    None => value,
                    Some(n) => {
                        if n > 0 {
                            encoded.extend_from_slice(&value[..n]);
                            encoded.push(b'=');
                        }
                        if value[n] == b'@' { self.files.read(&value[n + 1..])? } else { &value[n + 1..] }
                    }
                };
                push_encoded(content, &mut encoded);
                self.said.add(&encoded, b"&");
            }
        }
        Ok(())
    }

    /// Puts the request together, with what curl adds by itself.
    fn put(&mut self) -> Result<(), Reason> {
        let said = std::mem::take(&mut self.said);
        let mut url = said.url.ok_or(Reason::CurlOption)?;
        if !url.windows(3).any(|w| w == b"://") {
            url.splice(..0, *b"http://");
        }
        let mut body = said.body;
        if said.get
            && let Some(query) = body.take()
        {
            let fragment = url.iter().position(|b| *b == b'#').unwrap_or(url.len());
            url.truncate(fragment);
            url.push(if url.contains(&b'?') { b'&' } else { b'?' });
            url.extend_from_slice(&query);
        }
        let by_itself: &[u8] = match (&body, said.head) {
            (_, true) => b"HEAD",
            (Some(_), _) => b"POST",
            (None, _) => b"GET",
        };
        self.message.begin(said.method.as_deref().unwrap_or(by_itself), &url);
        // `Name: value`; `Name:` takes away what curl would add, `Name;` is an empty field.
        let named = |name: &str| said.headers.iter().any(|h| header_name(h).eq_ignore_ascii_case(name.as_bytes()));
        let fields = &mut self.message.fields;
        let mut add = |name: &str, value: Option<&[u8]>| {
            if let Some(value) = value.filter(|_| !named(name)) {
                fields.push(name.as_bytes(), value);
            }
        };
        let secret = said.user.map(|u| "Basic ".to_owned() + &base64::engine::general_purpose::STANDARD.encode(u));
        let secret = secret.map(String::into_bytes).or_else(|| said.bearer.map(|b| [b"Bearer ", &b[..]].concat()));
        add("Authorization", secret.as_deref());
        add("User-Agent", said.agent.as_deref().filter(|a| !a.is_empty()));
        add("Accept", Some(if said.json { b"application/json" } else { b"*/*" }));
        add("Accept-Encoding", said.compressed.then_some(&b"gzip, deflate"[..]));
        add("Referer", said.referer.as_deref());
        add("Cookie", Some(&said.cookies[..]).filter(|c| !c.is_empty()));
        let form: &[u8] = if said.json { b"application/json" } else { b"application/x-www-form-urlencoded" };
        add("Content-Type", body.is_some().then_some(form));
        for header in &said.headers {
            let name = header_name(header);
            let value = header.get(name.len() + 1..).unwrap_or_default().trim_ascii();
            if !value.is_empty() || header.get(name.len()) == Some(&b';') {
                fields.push(name, value);
            }
        }
        self.message.body.extend_from_slice(body.as_deref().unwrap_or_default());
        Ok(())
    }
}

impl Said {
    /// Adds to the body, behind what an earlier option put there.
    fn add(&mut self, part: &[u8], between: &[u8]) {
        match &mut self.body {
            None => self.body = Some(part.to_vec()),
            Some(body) => {
                body.extend_from_slice(between);
                body.extend_from_slice(part);
            }
        }
    }
}

fn header_name(header: &[u8]) -> &[u8] {
    let end = header.iter().position(|b| matches!(b, b':' | b';')).unwrap_or(header.len());
    &header[..end]
}

/// Appends `text` with everything but unreserved characters (RFC 3986 section 2.3) escaped, as curl does.
fn push_encoded(text: &[u8], out: &mut Vec<u8>) {
    for b in text {
        if b.is_ascii_alphanumeric() || b"-._~".contains(b) {
            out.push(*b);
        } else {
            out.extend_from_slice(format!("%{b:02X}").as_bytes());
        }
    }
}

/// Where a line's command begins, behind spaces and a prompt, if it is a curl.
fn begins(l: &[u8]) -> Option<usize> {
    let indent = l.len() - l.trim_ascii_start().len();
    let at = indent + if l[indent..].starts_with(b"$ ") { 2 } else { 0 };
    let word = l[at..].split(|b| b.is_ascii_whitespace()).next().unwrap_or_default();
    let program = word.rsplit(|b| *b == b'/').next().unwrap_or_default();
    matches!(program, b"curl" | b"curl.exe").then_some(at)
}

impl Framing for Curl {
    fn step<'a>(&'a mut self, text: &'a [u8], at_end: bool) -> Step<'a> {
        let Some((l, used)) = line(text, at_end) else { return Step::More };
        if matches!(l.trim_ascii(), b"" | b"&" | b";" | [b'#', ..]) {
            return Step::Pass(used);
        }
        let Some(at) = begins(l) else { return Step::Bad(used, Reason::NoMatch) };
        match command(&text[at..], at_end) {
            Command::Unfinished if at_end => Step::Lost(Reason::CutShort),
            Command::Unfinished => Step::More,
            Command::Words(words, n) => match self.understand(&words) {
                Ok(()) => Step::Record(at + n, self.message.record(NO_TIME)),
                Err(reason) => Step::Bad(at + n, reason),
            },
        }
    }

    fn resync(&mut self, text: &[u8], at_end: bool) -> Resync {
        next_line_that(text, at_end, |l| begins(l).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::record::Asked;
    use super::*;

    /// Method, target, fields and body of one command line, as text.
    fn request(line: &str) -> Result<(String, Vec<String>, String), Reason> {
        let mut curl = Curl::start(None);
        match curl.step(line.as_bytes(), true) {
            Step::Record(n, r) => {
                assert_eq!(n, line.len());
                let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
                let Asked::Parts { method, target } = r.asked else { panic!() };
                let fields = r.fields.iter().map(|(n, v)| text(n) + ": " + &text(v)).filter(|f| f != "Accept: */*");
                Ok((text(method) + " " + &text(target), fields.collect(), text(r.body)))
            }
            Step::Bad(_, reason) | Step::Lost(reason) => Err(reason),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn gives(line: &str, asked: &str, fields: &[&str], body: &str) {
        let (a, f, b) = request(line).unwrap();
        assert_eq!((&*a, f.iter().map(|f| &**f).collect::<Vec<_>>(), &*b), (asked, fields.to_vec(), body), "{line}");
    }

    const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

    #[test]
    fn a_command_asks_for_what_curl_would() {
        gives("curl http://h/a#f", "GET http://h/a", &[], "");
        gives("curl h:81/a", "GET http://h:81/a", &[], "");
        gives("curl -sSLkI --http2 -o /dev/null 'http://h/?a=1&b=2'", "HEAD http://h/?a=1&b=2", &[], "");
        gives("curl -XDELETE http://h/", "DELETE http://h/", &[], "");
        gives(
            "curl http://h/ -d a=1 --data-raw @b --data-urlencode 'c=d e&'",
            "POST http://h/",
            &[FORM],
            "a=1&@b&c=d%20e%26",
        );
        gives("curl -G http://h/?x -d a=1 -d b", "GET http://h/?x&a=1&b", &[], "");
        gives(
            "curl --json '{\"a\":1}' --url http://h/",
            "POST http://h/",
            &["Accept: application/json", "Content-Type: application/json"],
            "{\"a\":1}",
        );
        gives(
            "curl http://h/ -u me:pw -A x -e 'http://r/;auto' -b a=1 -b 'b=2' --compressed",
            "GET http://h/",
            &[
                "Authorization: Basic bWU6cHc=",
                "User-Agent: x",
                "Accept-Encoding: gzip, deflate",
                "Referer: http://r/",
                "Cookie: a=1; b=2",
            ],
            "",
        );
        gives(
            "curl -X PUT http://h/ -H 'content-type: text/plain' --data-binary $'a\\nb'",
            "PUT http://h/",
            &["content-type: text/plain"],
            "a\nb",
        );
        gives("curl -H 'Accept:' -H 'X-E;' -H'X-A:b' -- http://h/", "GET http://h/", &["X-E: ", "X-A: b"], "");
    }

    #[test]
    fn what_can_not_be_made_says_why() {
        for (line, reason) in [
            ("curl", Reason::CurlOption),
            ("curl -F a=b http://h/", Reason::CurlOption),
            ("curl --nonsense http://h/", Reason::CurlOption),
            ("curl http://h/ -H", Reason::CurlOption),
            ("curl -b cookies.txt http://h/", Reason::CurlOption),
            ("curl http://h/ http://i/", Reason::CurlUrls),
            ("curl -d @no/such/file http://h/", Reason::BodyFile),
            ("curl -d 'open http://h/", Reason::CutShort),
            ("wget http://h/", Reason::NoMatch),
        ] {
            assert_eq!(request(line), Err(reason), "{line}");
        }
    }

    #[test]
    fn every_option_has_a_name_and_a_letter_of_its_own() {
        for (n, (name, letter, _)) in OPTIONS.iter().enumerate() {
            assert!(!OPTIONS[..n].iter().any(|(m, l, _)| m == name || (l == letter && *l != '\0')), "{name} {letter}");
        }
    }
}
