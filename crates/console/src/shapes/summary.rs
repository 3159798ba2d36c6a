//! `summary`: the state and the counters of the whole process.

use serde_json::{Value, json};

use super::{Shape, line, percent};

/// The numbers of `summary`. Rates are per second, times in the unit their name ends in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SummaryData {
    /// Open delivery connections.
    pub outbound_concurrency: u64,
    /// Open reception sessions.
    pub inbound_concurrency: u64,
    /// Routing domains with a record.
    pub active_domains: u64,
    /// Messages due now.
    pub active_queue_size: u64,
    /// Messages that wait for their next attempt.
    pub delayed_queue_size: u64,
    /// All messages, those in a delivery session included.
    pub total_queue_size: u64,
    /// Name of the resolver.
    pub dns_resolver: String,
    /// A queries sent.
    pub dns_a_queries: u64,
    /// A queries without an answer in time.
    pub dns_a_timeouts: u64,
    /// AAAA queries sent.
    pub dns_aaaa_queries: u64,
    /// AAAA queries without an answer in time.
    pub dns_aaaa_timeouts: u64,
    /// MX queries sent.
    pub dns_mx_queries: u64,
    /// MX queries without an answer in time.
    pub dns_mx_timeouts: u64,
    /// TXT queries sent.
    pub dns_txt_queries: u64,
    /// TXT queries without an answer in time.
    pub dns_txt_timeouts: u64,
    /// Queries without an answer yet.
    pub pending_dns_queries: u64,
    /// Queries per second.
    pub dns_query_rate: f64,
    /// Slowest answer.
    pub dns_response_peak_ms: u64,
    /// Mean time of an answer.
    pub dns_response_average_ms: f64,
    /// Messages whose body is in memory.
    pub resident_messages: u64,
    /// Messages that were in the spool at the start: how many have come to the queues, and how many were found. Both are 0
    /// until the spool has been read, and equal when all have come.
    pub disk_queue_progress: (u64, u64),
    /// Deliveries.
    pub delivered_messages: u64,
    /// Permanent failures.
    pub failed_messages: u64,
    /// Attempts that failed for now.
    pub transient_failures: u64,
    /// MAIL, RCPT and DATA refused at reception, and messages: mail that did not come in, whatever kept it out.
    pub rejected_messages: u64,
    /// Accepted at reception.
    pub received_messages: u64,
    /// Deliveries and permanent failures per second.
    pub delivery_rate: f64,
    /// Receptions per second.
    pub reception_rate: f64,
    /// Rejections per second.
    pub rejection_rate: f64,
    /// Seconds since `summary reset` or the start.
    pub statistics_last_reset_seconds: u64,
    /// Seconds since the start.
    pub uptime_seconds: u64,
}

impl Shape for SummaryData {
    fn text(&self) -> String {
        let mut text = String::from("Summary Statistics\n");
        self.queues(&mut text);
        self.dns(&mut text);
        for (label, count) in [
            ("Successfully Delivered Messages", self.delivered_messages),
            ("Failed Messages", self.failed_messages),
            ("Rejected Messages", self.rejected_messages),
            ("Received Messages", self.received_messages),
        ] {
            line!(text, "        {label}: {count:>7}");
        }
        line!(text, "        Delivery Rate: {:>6.2} messages/second", self.delivery_rate);
        line!(text, "        Reception Rate: {:>6.2} messages/second", self.reception_rate);
        line!(text, "        Statistics Last Reset: {:>6} seconds", self.statistics_last_reset_seconds);
        line!(text, "        Uptime: {:>6} seconds", self.uptime_seconds);
        // Behind the documented lines, where a reader of those does not stumble over it.
        line!(text, "        Transient Failures: {:>7}", self.transient_failures);
        text
    }

    fn json(&self) -> Value {
        let (done, total) = self.disk_queue_progress;
        let offered = self.rejected_messages + self.received_messages;
        json!({
            "OutboundConcurrency": self.outbound_concurrency,
            "InboundConcurrency": self.inbound_concurrency,
            "ActiveDomains": self.active_domains,
            "ActiveQueueSize": self.active_queue_size,
            "DelayedQueueSize": self.delayed_queue_size,
            "TotalQueueSize": self.total_queue_size,
            "DNSResolver": self.dns_resolver,
            "DNSAQueries": self.dns_a_queries,
            "DNSATimeouts": self.dns_a_timeouts,
            "DNSAAAAQueries": self.dns_aaaa_queries,
            "DNSAAAATimeouts": self.dns_aaaa_timeouts,
            "DNSMXQueries": self.dns_mx_queries,
            "DNSMXTimeouts": self.dns_mx_timeouts,
            "DNSTXTQueries": self.dns_txt_queries,
            "DNSTXTTimeouts": self.dns_txt_timeouts,
            "PendingDNSQueries": self.pending_dns_queries,
            "DNSQueryRate": self.dns_query_rate,
            "DNSResponseTimePeak": self.dns_response_peak_ms,
            "DNSResponseTimeAverage": self.dns_response_average_ms,
            "DNSRateLimiterEnabled": false,
            "ResidentMessages": self.resident_messages,
            "DiskQueueProgress": format!("{done}/{total}"),
            "DeliveredMessages": self.delivered_messages,
            "FailedMessages": self.failed_messages,
            "TransientFailures": self.transient_failures,
            "RejectedMessages": self.rejected_messages,
            "ReceivedMessages": self.received_messages,
            "DeliveryRate": self.delivery_rate,
            "ReceptionRate": self.reception_rate,
            "RejectionRate": self.rejection_rate,
            "RejectionPercentage": percent(self.rejected_messages as f64, offered as f64),
            "StatisticsLastReset": self.statistics_last_reset_seconds,
            "Uptime": self.uptime_seconds,
        })
    }
}

impl SummaryData {
    fn queues(&self, text: &mut String) {
        for (label, count) in [
            ("Outbound Concurrency", self.outbound_concurrency),
            ("Inbound Concurrency", self.inbound_concurrency),
            ("Active Domains", self.active_domains),
            ("Active Queue Size", self.active_queue_size),
            ("Delayed Queue Size", self.delayed_queue_size),
            ("Total Queue Size", self.total_queue_size),
        ] {
            line!(text, "        {label}: {count:>7}");
        }
    }

    fn dns(&self, text: &mut String) {
        line!(text, "        DNS Resolver: {}", self.dns_resolver);
        for (kind, queries, timeouts) in [
            ("A", self.dns_a_queries, self.dns_a_timeouts),
            ("AAAA", self.dns_aaaa_queries, self.dns_aaaa_timeouts),
            ("MX", self.dns_mx_queries, self.dns_mx_timeouts),
            ("TXT", self.dns_txt_queries, self.dns_txt_timeouts),
        ] {
            line!(text, "        DNS {kind} Queries: {queries}");
            line!(text, "        DNS {kind} Timeouts: {timeouts}");
        }
        line!(text, "        Pending DNS Queries: {}", self.pending_dns_queries);
        line!(text, "        Query Rate: {:>6.2} queries/second", self.dns_query_rate);
        line!(text, "        DNS Response Time Peak: {:>4} ms", self.dns_response_peak_ms);
        line!(text, "        DNS Response Time Average: {:>6.3} ms", self.dns_response_average_ms);
        // There is none yet.
        line!(text, "        DNS Rate Limiter: disabled");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> SummaryData {
        SummaryData {
            outbound_concurrency: 21,
            inbound_concurrency: 3,
            active_domains: 417,
            active_queue_size: 66,
            delayed_queue_size: 1230,
            total_queue_size: 1300,
            dns_resolver: "hickory".into(),
            dns_a_queries: 900,
            dns_a_timeouts: 2,
            dns_mx_queries: 510,
            dns_txt_queries: 7,
            pending_dns_queries: 1,
            dns_query_rate: 0.287,
            dns_response_peak_ms: 93,
            dns_response_average_ms: 0.5214,
            resident_messages: 60,
            disk_queue_progress: (5, 9),
            delivered_messages: 52_077,
            failed_messages: 1100,
            transient_failures: 40,
            rejected_messages: 25,
            received_messages: 75,
            delivery_rate: 11.204,
            reception_rate: 112.5,
            statistics_last_reset_seconds: 4711,
            uptime_seconds: 1_234_567,
            ..SummaryData::default()
        }
    }

    #[test]
    fn summary_has_the_documented_lines_in_order_and_the_transient_failures() {
        let golden = "Summary Statistics
        Outbound Concurrency:      21
        Inbound Concurrency:       3
        Active Domains:     417
        Active Queue Size:      66
        Delayed Queue Size:    1230
        Total Queue Size:    1300
        DNS Resolver: hickory
        DNS A Queries: 900
        DNS A Timeouts: 2
        DNS AAAA Queries: 0
        DNS AAAA Timeouts: 0
        DNS MX Queries: 510
        DNS MX Timeouts: 0
        DNS TXT Queries: 7
        DNS TXT Timeouts: 0
        Pending DNS Queries: 1
        Query Rate:   0.29 queries/second
        DNS Response Time Peak:   93 ms
        DNS Response Time Average:  0.521 ms
        DNS Rate Limiter: disabled
        Successfully Delivered Messages:   52077
        Failed Messages:    1100
        Rejected Messages:      25
        Received Messages:      75
        Delivery Rate:  11.20 messages/second
        Reception Rate: 112.50 messages/second
        Statistics Last Reset:   4711 seconds
        Uptime: 1234567 seconds
        Transient Failures:      40
";
        assert_eq!(sample().text(), golden);
    }

    #[test]
    fn the_json_twin_has_the_documented_keys() {
        let json = sample().json();
        assert_eq!(json["OutboundConcurrency"], 21);
        assert_eq!(json["DiskQueueProgress"], "5/9");
        assert_eq!(json["RejectionPercentage"], 25.0);
        assert_eq!(json["DNSRateLimiterEnabled"], false);
        assert_eq!(json.as_object().unwrap().len(), 33);
        assert_eq!(SummaryData::default().json()["RejectionPercentage"], 0.0);
    }
}
