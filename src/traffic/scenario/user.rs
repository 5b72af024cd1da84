//! One virtual user: where in the flow it is, what it has drawn and captured, and the next
//! thing it does.
//!
//! Must not: wait, send, or allocate once its texts have grown to their size.

use super::check::Wants;
use super::draw::Each;
use super::source::{Digits, Source};
use super::template::{Slot, Values};
use super::{Content, Drive, Order, Scenario, Step};
use crate::model::{Answer, CheckKind, Request};
use std::borrow::Cow;
use std::sync::atomic::Ordering;

/// What a user does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It sends the request that was filled in.
    Send,
    /// It pauses this long, ns, and is asked again.
    Think(u64),
    /// It is done.
    Ended,
}

/// The state of one virtual user.
#[derive(Debug)]
pub struct User {
    /// From 0.
    number: u64,
    random: fastrand::Rng,
    /// Where in the flow it is.
    at: At,
    /// Passes through the flow begun, from 1; 0 while it does what is done once.
    pass: u64,
    /// Times the present step is still to be sent.
    repeats: u32,
    /// The step that was sent last.
    sent: usize,
    /// A pause due before the next request, ns.
    pause_ns: u64,
    /// What the flow needs could not be had: it starts over.
    starts_over: bool,
    /// The index drawn for each variable, and in which pass plus one (0: never).
    drawn: Box<[(u64, u64)]>,
    captured: Box<[Captured]>,
    seq: u64,
    uuid: u128,
    /// Header fields and a host that the present request has no use for: their memory.
    spare: Vec<(Cow<'static, str>, String)>,
    spare_host: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before the first request.
    Start,
    /// At a step that is done once, by its place among them.
    Once(usize),
    /// At a step of the flow, by its place among them.
    Flow(usize),
    /// Behind the last one.
    End,
}

#[derive(Clone, Debug, Default)]
struct Captured {
    text: String,
    is_there: bool,
}

impl User {
    pub(super) fn new(scenario: &Scenario, number: u64, seed: u64) -> User {
        let mut user = User {
            number,
            random: fastrand::Rng::with_seed(0),
            at: At::Start,
            pass: 0,
            repeats: 0,
            sent: 0,
            pause_ns: 0,
            starts_over: false,
            drawn: vec![(0, 0); scenario.variables.len()].into(),
            captured: vec![Captured::default(); scenario.captures.len()].into(),
            seq: 0,
            uuid: 0,
            spare: Vec::new(),
            spare_host: None,
        };
        user.renew(scenario, number, seed);
        user
    }

    /// Becomes another user, in the memory of this one.
    pub(super) fn renew(&mut self, scenario: &Scenario, number: u64, seed: u64) {
        self.number = number;
        self.random.seed(mix(seed ^ mix(number)));
        self.at = At::Start;
        self.pass = 0;
        self.repeats = 0;
        self.starts_over = false;
        self.pause_ns = match scenario.drive {
            Drive::Users { count, ramp_ns } if count > 0 => {
                // Saturates for a user beyond the count: it starts with the last ones.
                (u128::from(ramp_ns) * u128::from(number.min(count)) / u128::from(count)) as u64
            }
            _ => 0,
        };
        self.drawn.fill((0, 0));
        for (captured, declared) in self.captured.iter_mut().zip(&scenario.captures) {
            captured.text.clear();
            captured.is_there = declared.default.is_some();
            captured.text.push_str(declared.default.as_deref().unwrap_or(""));
        }
    }

    /// Its number, from 0.
    pub fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn next(&mut self, scenario: &Scenario, into: &mut Request) -> Next {
        if self.pause_ns > 0 {
            return Next::Think(std::mem::take(&mut self.pause_ns));
        }
        let Some(n) = self.advance(scenario) else {
            self.at = At::End;
            return Next::Ended;
        };
        let step = &scenario.steps[n];
        if !self.draw(scenario, step) {
            self.at = At::End;
            return Next::Ended;
        }
        self.sent = n;
        self.pause_ns = step.think.draw(&mut self.random);
        self.fill(scenario, step, into);
        Next::Send
    }

    pub(super) fn answered(&mut self, scenario: &Scenario, answer: &Answer<'_>) -> Result<(), CheckKind> {
        let step = &scenario.steps[self.sent];
        let mut verdict = step.expected.check(answer, &Eyes { scenario, user: self });
        for capture in &step.captures {
            let found = capture.find(answer);
            let into = &mut self.captured[usize::from(capture.into)];
            into.text.clear();
            match (found, &scenario.captures[usize::from(capture.into)].default) {
                (Some(text), _) => {
                    into.text.push_str(&text);
                    into.is_there = true;
                }
                (None, Some(default)) => into.text.push_str(default),
                (None, None) => {
                    into.is_there = false;
                    self.starts_over = true;
                    let why = if answer.is_cut && capture.wants().body { CheckKind::Cut } else { CheckKind::Capture };
                    verdict = verdict.and(Err(why));
                }
            }
        }
        verdict
    }

    /// No response came: what the flow needs of it is not to be had.
    pub(super) fn unanswered(&mut self, scenario: &Scenario) {
        let needed = |c: &super::capture::Capture| scenario.captures[usize::from(c.into)].default.is_none();
        self.starts_over |= scenario.steps[self.sent].captures.iter().any(needed);
    }

    /// Calls what the last request would have captured by its name.
    pub(super) fn rehearsed(&mut self, scenario: &Scenario) {
        for capture in &scenario.steps[self.sent].captures {
            let into = &mut self.captured[usize::from(capture.into)];
            into.text.clear();
            into.text.push_str(&scenario.captures[usize::from(capture.into)].name);
        }
    }

    pub(super) fn wants(&self, scenario: &Scenario) -> Wants {
        scenario.steps[self.sent].wants
    }

    /// Goes on to the next step.
    fn advance(&mut self, scenario: &Scenario) -> Option<usize> {
        if self.repeats > 0 && !self.starts_over {
            self.repeats -= 1;
            return Some(self.sent);
        }
        self.repeats = 0;
        self.at = match (self.at, std::mem::take(&mut self.starts_over)) {
            (At::End, _) => At::End,
            // An arrival that can't go on is over: more requests than arrive would be another load.
            (_, true) if matches!(scenario.drive, Drive::Arrivals { .. }) => At::End,
            (At::Start, _) | (At::Once(_), true) => At::Once(0),
            (At::Once(n), false) => At::Once(n + 1),
            (At::Flow(_), true) => self.new_pass(scenario),
            (At::Flow(_), false) if matches!(scenario.order, Order::Weights(_)) => self.new_pass(scenario),
            (At::Flow(n), false) if n + 1 < scenario.flow.len() => At::Flow(n + 1),
            (At::Flow(_), false) => self.new_pass(scenario),
        };
        if let At::Once(n) = self.at
            && n >= scenario.once.len()
        {
            self.at = self.new_pass(scenario);
        }
        let n = match self.at {
            At::Once(n) => *scenario.once.get(n)?,
            At::Flow(n) => *scenario.flow.get(n)?,
            At::Start | At::End => return None,
        };
        self.repeats = scenario.steps[n].repeat.saturating_sub(1);
        Some(n)
    }

    fn new_pass(&mut self, scenario: &Scenario) -> At {
        if scenario.passes.is_some_and(|most| self.pass >= most) || scenario.flow.is_empty() {
            return At::End;
        }
        self.pass += 1;
        match &scenario.order {
            Order::InTurn => At::Flow(0),
            Order::Weights(sums) => {
                let total = sums.last().copied().unwrap_or(1).max(1);
                let drawn = self.random.u64(0..total);
                At::Flow(sums.partition_point(|sum| *sum <= drawn))
            }
        }
    }

    /// Draws what the step uses; false when a sequence is at its end.
    fn draw(&mut self, scenario: &Scenario, step: &Step) -> bool {
        if step.uses_seq {
            self.seq = scenario.seq.fetch_add(1, Ordering::Relaxed) + 1;
        }
        if step.uses_uuid {
            self.uuid = self.random.u128(..);
        }
        for v in &step.draws {
            let (v, variable) = (usize::from(*v), &scenario.variables[usize::from(*v)]);
            let is_kept = match variable.each {
                Each::Request => false,
                Each::Flow => self.drawn[v].1 == self.pass + 1,
                Each::User => self.drawn[v].1 != 0,
            };
            if is_kept {
                continue;
            }
            let drawn = &self.drawn;
            let is_taken = |index| {
                let Some(other) = variable.except else { return false };
                is_same(
                    &variable.source,
                    index,
                    &scenario.variables[usize::from(other)].source,
                    drawn[usize::from(other)].0,
                )
            };
            let Some(index) = variable.index(self.number, &mut self.random, is_taken) else { return false };
            self.drawn[v] = (index, self.pass + 1);
        }
        true
    }

    /// Writes the request, in the memory of the one before.
    fn fill(&mut self, scenario: &Scenario, step: &Step, into: &mut Request) {
        let mut spare = std::mem::take(&mut self.spare);
        let mut spare_host = self.spare_host.take();
        let eyes = Eyes { scenario, user: self };
        into.recorded_unix_ns = 0;
        into.recorded_status = None;
        into.client = self.number.wrapping_add(1);
        if into.method != step.method {
            into.method = step.method.clone();
        }
        if into.route != step.route {
            into.route = step.route.clone();
        }
        into.path.clear();
        step.path.write(&eyes, &mut into.path);
        if !into.path.starts_with('/') {
            to_origin_form(&mut into.path);
        }
        match &step.host {
            None => spare_host = into.host.take().or(spare_host),
            Some(host) => {
                let text = into.host.get_or_insert_with(|| spare_host.take().unwrap_or_default());
                text.clear();
                host.write(&eyes, text);
            }
        }
        spare.extend(into.headers.drain(step.headers.len().min(into.headers.len())..));
        for (n, (name, value)) in step.headers.iter().enumerate() {
            if n == into.headers.len() {
                into.headers.push(spare.pop().unwrap_or_default());
            }
            let (field, text) = &mut into.headers[n];
            if **field != **name {
                match field {
                    Cow::Owned(own) => {
                        own.clear();
                        own.push_str(name);
                    }
                    Cow::Borrowed(_) => *field = Cow::Owned(name.to_string()),
                }
            }
            text.clear();
            value.write(&eyes, text);
        }
        into.body.0.clear();
        match &step.body {
            Content::None => {}
            Content::Bytes(bytes) => into.body.0.extend_from_slice(bytes),
            Content::Text(text) => text.write(&eyes, &mut into.body.0),
        }
        self.spare = spare;
        self.spare_host = spare_host;
    }
}

/// The request line's path of a link that was captured: from an absolute one what stands behind
/// the host (RFC 9112 section 3.2.1); from anything else with a slash put before it.
fn to_origin_form(path: &mut String) {
    if let Some(authority) = path.find("://").map(|n| n + 3)
        && path[..authority].bytes().all(|b| b.is_ascii_alphanumeric() || b":/+-.".contains(&b))
    {
        let end = path[authority..].find(['/', '?']).map_or(path.len(), |n| authority + n);
        path.drain(..end);
    }
    if !path.starts_with('/') {
        path.insert(0, '/');
    }
}

fn is_same(a: &Source, a_index: u64, b: &Source, b_index: u64) -> bool {
    if let (Source::Range(a), Source::Range(b)) = (a, b)
        && a.decimals == b.decimals
    {
        return i128::from(a.low) + i128::from(a_index) == i128::from(b.low) + i128::from(b_index);
    }
    let (mut one, mut other) = (Digits::default(), Digits::default());
    a.spell(a_index, None, &mut one) == b.spell(b_index, None, &mut other)
}

/// What a user sees when a text names a value.
struct Eyes<'a> {
    scenario: &'a Scenario,
    user: &'a User,
}

impl Values for Eyes<'_> {
    fn text<'v>(&'v self, slot: Slot, digits: &'v mut Digits) -> &'v str {
        match slot {
            Slot::Drawn(v, column) => {
                let v = usize::from(v);
                self.scenario.variables[v].source.spell(self.user.drawn[v].0, column, digits)
            }
            Slot::Captured(c) => &self.user.captured[usize::from(c)].text,
            Slot::Seq => digits.number(self.user.seq),
            Slot::Uuid => digits.uuid(self.user.uuid),
            Slot::User => digits.number(self.user.number.wrapping_add(1)),
        }
    }
}

/// Spreads neighbouring numbers over all 64 bits: the finaliser of SplitMix64 (G. L. Steele,
/// D. Lea, C. H. Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}
