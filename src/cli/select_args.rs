//! The options that choose and change recorded requests, for a run and `perfbench traffic` alike.
//!
//! Must not: open files.

use crate::traffic::{Filter, MethodFilter, Moment, Options, Prefix, QueryField, Rewrite, RoutePattern, Sample, Sieve};
use anyhow::bail;
use clap::ArgAction;

/// Which recorded requests are replayed, how they are changed, and what they count under.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct SelectArgs {
    /// Replay only what this holds for: method=GET, status=4xx, route=/product/{}, host=*.example,
    /// path=REGEX; of several with one key any, of different keys all
    #[arg(long, value_name = "KEY=VALUE", value_parser = Filter::only, action = ArgAction::Append, help_heading = "Traffic")]
    pub(super) only: Vec<Filter>,
    /// Leave out what this holds for, whatever --only says; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = Filter::skip, action = ArgAction::Append, help_heading = "Traffic")]
    pub(super) skip: Vec<Filter>,
    /// Start here: 2015-05-17T08:05:32Z, a log's own notation, 08:05 (UTC), or +10m from the start
    #[arg(long, value_name = "WHEN", help_heading = "Traffic")]
    pub(super) from: Option<Moment>,
    /// Stop before this time of the recording, written like --from
    #[arg(long, value_name = "WHEN", help_heading = "Traffic")]
    pub(super) to: Option<Moment>,
    /// Replay this part of the clients with all their requests; --seed chooses others
    #[arg(long, value_name = "PERCENT", help_heading = "Traffic")]
    pub(super) sample: Option<Sample>,
    /// Send /old/x as /new/x: /old/=/new/; the first that fits
    #[arg(long, value_name = "OLD=NEW", action = ArgAction::Append, help_heading = "Traffic")]
    pub(super) rewrite_path: Vec<Prefix>,
    /// Set a field of every query, in place of a recorded one of that name
    #[arg(long, value_name = "NAME=VALUE", action = ArgAction::Append, help_heading = "Traffic")]
    pub(super) set_query: Vec<QueryField>,
    /// Take a field out of every query; utm_* takes out all that begin so
    #[arg(long, value_name = "NAME", action = ArgAction::Append, help_heading = "Traffic")]
    pub(super) drop_query: Vec<String>,
    /// Count paths like this under one route: /users/{}/orders/**; the first that fits, else numbers
    /// and the like become {}
    #[arg(long, value_name = "PATTERN", action = ArgAction::Append, help_heading = "Traffic")]
    pub(super) route: Vec<RoutePattern>,
    /// Routes to tell apart; the rest counts as (other routes)
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = "Traffic")]
    pub(super) max_routes: u32,
}

impl SelectArgs {
    /// Puts them into what the traffic room takes.
    pub(super) fn apply(&self, options: Options) -> Options {
        Options {
            sieve: Sieve {
                filters: self.only.iter().chain(&self.skip).cloned().collect(),
                from: self.from,
                to: self.to,
                sample: self.sample.clone(),
            },
            rewrite: Rewrite {
                prefixes: self.rewrite_path.clone(),
                drop_query: self.drop_query.clone(),
                set_query: self.set_query.clone(),
            },
            routes: self.route.clone(),
            max_routes: usize::try_from(self.max_routes).unwrap_or(usize::MAX),
            ..options
        }
    }

    /// # Errors
    /// When they contradict each other or `--methods`: nothing would be left to replay.
    pub(super) fn check(&self, methods: &MethodFilter) -> anyhow::Result<()> {
        let allowed =
            |f: &Filter| f.methods().is_none_or(|all| all.iter().any(|m| methods.allows(m.as_str().as_bytes())));
        let named: Vec<&Filter> = self.only.iter().filter(|f| f.methods().is_some()).collect();
        if !named.is_empty() && !named.iter().any(|f| allowed(f)) {
            let names: Vec<&str> = named.iter().filter_map(|f| f.methods()).flatten().map(|m| m.as_str()).collect();
            let names = names.join(",");
            bail!("--only method={names} keeps nothing that --methods allows; add --methods {names}");
        }
        if let (Some(Moment::At(from)), Some(Moment::At(to))) | (Some(Moment::After(from)), Some(Moment::After(to))) =
            (self.from, self.to)
            && from >= to
        {
            bail!("--to is not after --from: nothing lies between them");
        }
        Ok(())
    }
}
