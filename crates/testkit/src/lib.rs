//! SMTP sink and source, DNS zone server, crash runner, fault-injecting disk and simulated time for tests.
