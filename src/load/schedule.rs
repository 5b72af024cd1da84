//! When requests fall due, on an absolute schedule from the start of the run.
//!
//! Must not: read a clock or wait.

/// When requests fall due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As soon as a connection is free: a closed loop.
    Closed,
    /// At a constant rate: request n at n / rate.
    Rate {
        /// Requests per second, more than 0.
        per_s: f64,
    },
    /// At their recorded times, counted from the first request.
    Recorded {
        /// Factor on the recorded timing, more than 0: 2 plays twice as fast.
        speed: f64,
    },
}

impl Pace {
    /// Whether requests fall due whether or not a connection is free.
    pub fn is_open(self) -> bool {
        !matches!(self, Pace::Closed)
    }

    /// When request `n` of the run falls due, ns from its start; its recorded time is
    /// `recorded_ns` after that of the first request. A closed loop has no due times.
    pub fn due_ns(self, n: u64, recorded_ns: u64) -> u64 {
        match self {
            Pace::Closed => 0,
            Pace::Rate { per_s } => (n as f64 * (1e9 / per_s)) as u64,
            Pace::Recorded { speed } => (recorded_ns as f64 / speed) as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;

    #[test]
    fn the_schedule_is_absolute_so_that_errors_do_not_add_up() {
        let p = Pace::Rate { per_s: 3.0 };
        assert_eq!(p.due_ns(3_000_000, 0), 1_000_000_000_000_000);
        assert_eq!(Pace::Recorded { speed: 2.0 }.due_ns(7, 3_000), 1_500);
    }
}
