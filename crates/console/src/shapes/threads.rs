//! `threads stats` and the queues of thread pools.

use serde_json::{Value, json};

use super::{Shape, line};

/// `threads stats`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolReports {
    /// All pools, those of the configuration included.
    pub pools: Vec<PoolReport>,
}

/// One thread pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolReport {
    /// Its name.
    pub name: String,
    /// Threads it may have.
    pub concurrency: u64,
    /// Jobs it has run.
    pub invocations: u64,
    /// Jobs that ran at once, on average over the time there were any.
    pub average_concurrency: f64,
    /// Share of the time all threads were busy, in percent.
    pub saturation_percent: f64,
    /// Mean time of a job.
    pub average_wallclock_ms: f64,
    /// Threads that run a job now.
    pub threads_active: u64,
    /// Threads that wait for one.
    pub threads_inactive: u64,
    /// Jobs that wait.
    pub jobs_queued: u64,
    /// Jobs that run.
    pub jobs_running: u64,
}

impl Shape for PoolReports {
    fn text(&self) -> String {
        let mut text = String::new();
        for pool in &self.pools {
            pool.lines(&mut text);
        }
        text
    }

    fn json(&self) -> Value {
        json!({ "pools": self.pools.iter().map(PoolReport::json).collect::<Value>() })
    }
}

impl PoolReport {
    /// A pool that never ran anything has one line.
    fn lines(&self, text: &mut String) {
        line!(text, "{} thread pool: concurrency {}", self.name.to_uppercase(), self.concurrency);
        if self.invocations == 0 {
            return;
        }
        line!(text, "{:>32}: {}", "Total invocations", self.invocations);
        line!(text, "{:>32}: {:.2}", "Observed average concurrency", self.average_concurrency);
        line!(text, "{:>32}: {:.2}%", "Thread pool saturation", self.saturation_percent);
        line!(text, "{:>32}: {:.2}ms", "Average wallclock time per op", self.average_wallclock_ms);
        line!(text, "{:>32}: {}", "Current thread count", self.threads_active);
        line!(text, "  [inactive threads]");
        line!(text, "{:>32}: {}", "Current thread count", self.threads_inactive);
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "concurrency": self.concurrency,
            "invocations": self.invocations,
            "avg_concurrency": self.average_concurrency,
            "saturation": self.saturation_percent,
            "avg_wallclock_time_per_op": self.average_wallclock_ms,
            "queue_sz": self.jobs_queued,
            "num_threads": self.threads_active + self.threads_inactive,
            "num_active_threads": self.threads_active,
            "num_inactive_threads": self.threads_inactive,
            "job_num_queued": self.jobs_queued,
            "job_num_running": self.jobs_running,
        })
    }
}

/// `threads io queue`, `threads cpu queue`: the jobs that wait in one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolQueue {
    /// The pool's name.
    pub name: String,
    /// Jobs that wait.
    pub jobs: u64,
}

impl Shape for PoolQueue {
    fn text(&self) -> String {
        format!("Jobs in the {} pool\n{} jobs\n", self.name.to_uppercase(), self.jobs)
    }

    fn json(&self) -> Value {
        json!({ "name": self.name, "jobs": self.jobs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_used_pool_shows_its_numbers_and_an_unused_one_a_line() {
        let unused = PoolReport { name: "Cpu".into(), concurrency: 4, ..Default::default() };
        let used = PoolReport {
            name: "SwapOut".into(),
            concurrency: 5,
            invocations: 4210,
            average_concurrency: 1.954,
            saturation_percent: 28.5,
            average_wallclock_ms: 9.75,
            threads_active: 1,
            threads_inactive: 4,
            jobs_queued: 7,
            jobs_running: 1,
        };
        let reports = PoolReports { pools: vec![unused, used] };
        let golden = "\
CPU thread pool: concurrency 4
SWAPOUT thread pool: concurrency 5
               Total invocations: 4210
    Observed average concurrency: 1.95
          Thread pool saturation: 28.50%
   Average wallclock time per op: 9.75ms
            Current thread count: 1
  [inactive threads]
            Current thread count: 4
";
        assert_eq!(reports.text(), golden);
        let json = reports.json();
        assert_eq!(json["pools"][1]["num_threads"], 5);
        assert_eq!(json["pools"][1]["queue_sz"], 7);
    }

    #[test]
    fn the_queue_of_a_pool_is_counted() {
        assert_eq!(PoolQueue { name: "IO".into(), jobs: 0 }.text(), "Jobs in the IO pool\n0 jobs\n");
    }
}
