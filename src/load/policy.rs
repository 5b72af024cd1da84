//! How connections are used: how many requests each carries, when they are opened, what a user
//! does between two requests, and what becomes of requests that find no connection free.
//!
//! Must not: read a clock or open anything.

use std::time::Duration;

/// See the top of the file. The default: connections are kept, opened as needed, nobody thinks,
/// requests wait.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// Requests that one connection carries before it is closed by us; at least 1.
    pub requests_per_connection: Option<u32>,
    /// Connections may be opened evenly over this time from the start of the run, not all at once.
    pub ramp: Duration,
    /// Pause of a connection after each response, in a closed loop.
    pub think: Think,
    /// What becomes of requests that are due when no connection is free.
    pub overload: Overload,
    /// Requests of one client (`Request::client`) are sent one after the other, each when it is
    /// due and the one before it has ended. On a schedule of recorded times.
    pub sessions: bool,
}

/// Pause between a response and the next request of the same user.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Think {
    /// None.
    #[default]
    None,
    /// Always the same.
    Fixed(Duration),
    /// Each length between the two is as likely as any other.
    Uniform(Duration, Duration),
    /// Exponentially distributed with this mean: of users who forget how long they have thought.
    Exponential(Duration),
}

impl Think {
    /// The length of one pause.
    pub(crate) fn draw(self, rng: &mut fastrand::Rng) -> Duration {
        match self {
            Think::None => Duration::ZERO,
            Think::Fixed(d) => d,
            Think::Uniform(a, b) => a.min(b) + a.abs_diff(b).mul_f64(rng.f64()),
            // From (0, 1]: the logarithm of 0 is not a time.
            Think::Exponential(mean) => mean.mul_f64(-(1.0 - rng.f64()).ln().min(0.0)),
        }
    }
}

/// What becomes of a request that is due when no connection is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overload {
    /// It waits with those before it, as many as the plan lets wait; more are dropped.
    #[default]
    Queue,
    /// It is dropped.
    Drop,
    /// Another connection is opened for it, up to so many; then it waits.
    Grow {
        /// Connections at the most, all workers together.
        most: u32,
    },
}

impl Overload {
    /// Its name on the command line and in sessions.
    pub fn name(self) -> &'static str {
        match self {
            Overload::Queue => "queue",
            Overload::Drop => "drop",
            Overload::Grow { .. } => "grow",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_have_the_length_they_were_given() {
        let ms = Duration::from_millis;
        let mut rng = fastrand::Rng::with_seed(7);
        let mut mean = |think: Think| (0..40_000).map(|_| think.draw(&mut rng).as_secs_f64() * 25e-3).sum::<f64>();
        assert_eq!(mean(Think::None), 0.0);
        assert!((mean(Think::Fixed(ms(100))) - 100.0).abs() < 1e-6);
        assert!((mean(Think::Uniform(ms(50), ms(150))) - 100.0).abs() < 1.0);
        assert!((mean(Think::Exponential(ms(100))) - 100.0).abs() < 3.0);
        let backwards = Think::Uniform(ms(9), ms(3));
        assert!((0..100).all(|_| (ms(3)..=ms(9)).contains(&backwards.draw(&mut rng))));
    }
}
