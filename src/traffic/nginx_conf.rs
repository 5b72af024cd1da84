//! `log_format` out of an nginx configuration: which there are, and which one an `access_log` uses.
//! Read as nginx reads it (`ngx_conf_read_token`): quotes, escapes, comments, several pieces.
//!
//! Must not: follow `include`: what `nginx -T` prints is one file with everything in it.

use super::variables::Escapes;

/// A `log_format` of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogFormat {
    /// The name it has there.
    pub(super) name: String,
    /// Its pieces, joined.
    pub(super) pattern: String,
    /// How it protects characters.
    pub(super) escapes: Escapes,
}

/// nginx's own `combined`, which needs no `log_format`.
const COMBINED: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#;

/// The format called `name` in the configuration `text`; without a name the one that its `access_log`s
/// use, or the only one there is. The error says what to do.
pub(super) fn log_format(text: &str, name: Option<&str>) -> Result<LogFormat, String> {
    let mut formats: Vec<LogFormat> = Vec::new();
    let mut used: Vec<String> = Vec::new();
    for words in directives(text)? {
        match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["log_format", format, ref pieces @ ..] => {
                let (escapes, pieces) = match pieces.split_first() {
                    Some((&"escape=json", rest)) => (Escapes::Json, rest),
                    Some((&"escape=none", rest)) => (Escapes::None, rest),
                    Some((&"escape=default", rest)) => (Escapes::Default, rest),
                    _ => (Escapes::Default, pieces),
                };
                formats.push(LogFormat { name: format.into(), pattern: pieces.concat(), escapes });
            }
            ["access_log", "off", ..] => {}
            ["access_log", _, format, ..] if !format.contains('=') => used.push(format.into()),
            ["access_log", _, ..] => used.push("combined".into()),
            _ => {}
        }
    }
    let mut names: Vec<&str> = formats.iter().map(|f| f.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    used.sort_unstable();
    used.dedup();
    let wanted = match (name, &used[..], &names[..]) {
        (Some(name), ..) => name,
        (None, [one], _) => one,
        (None, _, [one]) => one,
        (None, [], []) => return Err("it holds no log_format and no access_log".into()),
        (None, ..) => {
            let all = if names.is_empty() { used.join(", ") } else { names.join(", ") };
            return Err(format!("it holds several log formats; add :NAME, one of: {all}"));
        }
    };
    // Of two definitions of one name the later: nginx refuses them, but `include`s repeat files.
    if let Some(found) = formats.iter().rev().find(|f| f.name == wanted) {
        return Ok(found.clone());
    }
    if wanted == "combined" {
        return Ok(LogFormat { name: "combined".into(), pattern: COMBINED.into(), escapes: Escapes::Default });
    }
    let all = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Err(format!("it holds no log_format called '{wanted}'; there are: {all}"))
}

/// The directives of a configuration, as words. Blocks are left: what is inside stands beside them.
fn directives(text: &str) -> Result<Vec<Vec<String>>, String> {
    let mut out = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut rest = text.trim_start_matches('\u{feff}').chars().peekable();
    let mut line = 1;
    while let Some(c) = rest.next() {
        match c {
            '\n' => line += 1,
            c if c.is_ascii_whitespace() => {}
            '#' => while rest.next_if(|c| *c != '\n').is_some() {},
            ';' | '{' | '}' => {
                if !words.is_empty() {
                    out.push(std::mem::take(&mut words));
                }
            }
            quote @ ('"' | '\'') => {
                let began = line;
                let mut word = String::new();
                loop {
                    match rest.next() {
                        Some(c) if c == quote => break,
                        Some('\\') => push_escaped(&mut word, rest.next()),
                        Some(c) => {
                            line += usize::from(c == '\n');
                            word.push(c);
                        }
                        None => return Err(format!("the quote opened on line {began} is not closed")),
                    }
                }
                words.push(word);
            }
            c => {
                let mut word = String::new();
                let mut next = Some(c);
                let mut in_braces = false;
                while let Some(c) = next {
                    match c {
                        '\\' => push_escaped(&mut word, rest.next()),
                        c => word.push(c),
                    }
                    // `${name}` is no block.
                    in_braces = (in_braces && c != '}') || (c == '$' && rest.peek() == Some(&'{'));
                    let ends = |c: &char| c.is_ascii_whitespace() || (!in_braces && matches!(c, ';' | '{'));
                    next = rest.next_if(|c| !ends(c));
                }
                words.push(word);
            }
        }
    }
    if !words.is_empty() {
        out.push(words);
    }
    Ok(out)
}

/// Appends what nginx reads a backslash and `c` as.
fn push_escaped(word: &mut String, c: Option<char>) {
    match c {
        Some(c @ ('"' | '\'' | '\\')) => word.push(c),
        Some('t') => word.push('\t'),
        Some('r') => word.push('\r'),
        Some('n') => word.push('\n'),
        Some(c) => word.extend(['\\', c]),
        None => word.push('\\'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONF: &str = r##"
        user nginx; # log_format no '$request';
        http {
            log_format main  '$remote_addr [$time_local] "$request" '
                             '$status ${body_bytes_sent}b "it\'s"';
            log_format json escape=json "{\"t\":\"$msec\",\"r\":\"$request\"}";
            server { location / { access_log off; } access_log /var/log/a.log main buffer=32k; }
        }"##;

    #[test]
    fn pieces_quotes_escapes_and_comments_are_read_as_nginx_does() {
        let main = log_format(CONF, None).unwrap();
        assert_eq!(main.name, "main");
        assert_eq!(main.pattern, r#"$remote_addr [$time_local] "$request" $status ${body_bytes_sent}b "it's""#);
        let json = log_format(CONF, Some("json")).unwrap();
        assert_eq!((json.pattern.as_str(), json.escapes), (r#"{"t":"$msec","r":"$request"}"#, Escapes::Json));
        let bare = log_format("log_format x $msec-${request}|$status; access_log a x;", None).unwrap();
        assert_eq!(bare.pattern, "$msec-${request}|$status");
    }

    #[test]
    fn without_a_name_there_must_be_one_to_choose() {
        let error = |text: &str, name| log_format(text, name).unwrap_err();
        let two = "log_format a '$msec'; log_format b '$msec';";
        assert!(error(two, None).contains("add :NAME, one of: a, b"));
        assert!(error(CONF, Some("nope")).contains("there are: json, main"));
        assert!(error("user x;", None).contains("no log_format"));
        assert!(error("log_format a 'x;", None).contains("line 1 is not closed"));
        assert_eq!(log_format("access_log /a;", None).unwrap().pattern, COMBINED);
        assert_eq!(log_format("log_format a '$msec';", None).unwrap().name, "a");
        assert_eq!(log_format(two, Some("b")).unwrap().name, "b");
    }
}
