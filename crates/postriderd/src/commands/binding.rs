//! `binding summary`, `binding active`, `binding delayed`: the bindings.

use std::rc::Rc;

use console::arguments::{self, BindingsWanted};
use console::shapes::{BindingSummary, BindingTotals, ListKind, Shape as _};
use console::{Command, CommandError};
use delivery::BindingReport;

use super::completion::{Place, completed};
use super::queue::list;
use super::{bindings, command, known_binding, waiting};
use crate::house::House;

/// The family.
pub fn commands(house: &Rc<House>) -> Vec<Command> {
    let summary = command(
        house,
        "binding summary [NAME|group:NAME]",
        "counters of bindings since the start",
        |house, asked| async move { Ok(summary(&house, arguments::binding_summary(&asked.args)?).await?.reply()) },
    )
    .help("Every binding of the configuration is shown, and those that have had mail. With group:NAME its members and their sum are.");
    let active = command(
        house,
        "binding active BINDING N",
        "domains of a binding with more than N messages due",
        |house, asked| async move {
            let (binding, threshold) = arguments::binding_threshold(&asked.args)?;
            known_binding(&house, &binding).await?;
            list(&house, Some(&binding), ListKind::Threshold, move |row| threshold < row.active).await
        },
    );
    let delayed = command(
        house,
        "binding delayed BINDING N",
        "domains of a binding with more than N messages waiting",
        |house, asked| async move {
            let (binding, threshold) = arguments::binding_threshold(&asked.args)?;
            known_binding(&house, &binding).await?;
            list(&house, Some(&binding), ListKind::Threshold, move |row| threshold < row.delayed).await
        },
    );
    [summary, active, delayed].into_iter().map(|command| completed(house, command, &[Place::Binding])).collect()
}

async fn summary(house: &House, wanted: BindingsWanted) -> Result<BindingSummary, CommandError> {
    if let BindingsWanted::Named(name) = &wanted {
        known_binding(house, name).await?;
    }
    let is_wanted = |binding_group: &str, binding: &str| match &wanted {
        BindingsWanted::All => true,
        BindingsWanted::Named(name) => *binding == **name,
        BindingsWanted::Group(group) => *binding_group == **group,
    };
    let mut reports = house.engine.bindings().await;
    for (binding_group, binding) in bindings(house).await {
        if !reports.iter().any(|report| (&*report.binding_group, &*report.binding) == (&*binding_group, &*binding)) {
            reports.extend(house.engine.idle_binding(&binding_group, &binding).await);
        }
    }
    reports.retain(|report| is_wanted(&report.binding_group, &report.binding));
    reports.sort_by(|one, other| (&one.binding_group, &one.binding).cmp(&(&other.binding_group, &other.binding)));
    let members = reports.iter().map(|report| totals(house, &report.binding, report)).collect();
    match (wanted, sum(&reports)) {
        (BindingsWanted::Group(group), Some(sum)) => {
            Ok(BindingSummary::Group { members, total: totals(house, &group, &sum) })
        }
        (BindingsWanted::Group(group), None) if is_group(house, &group) => {
            Err(CommandError::Failed(format!("the binding group {group} has no binding, and has had no mail")))
        }
        (BindingsWanted::Named(name) | BindingsWanted::Group(name), None) => {
            Err(CommandError::Failed(format!("no binding group is called {name}")))
        }
        (BindingsWanted::All | BindingsWanted::Named(_), _) => Ok(BindingSummary::Bindings(members)),
    }
}

fn is_group(house: &House, group: &str) -> bool {
    house.configuration.current().instances("binding_group").iter().any(|stanza| stanza.name() == group)
}

fn sum(reports: &[BindingReport]) -> Option<BindingReport> {
    let (first, others) = reports.split_first()?;
    let mut sum = first.clone();
    others.iter().for_each(|other| sum.add(other));
    Some(sum)
}

fn totals(house: &House, name: &str, report: &BindingReport) -> BindingTotals {
    let waiting = report.waits.iter().map(|(wait, queues)| (waiting(house, wait), *queues as u64)).collect();
    BindingTotals {
        held: report.held.as_ref().map(|setting| match setting.option == queue::BLACKHOLE.name() {
            true => format!("nothing: mail that is due fails at once by {setting}"),
            false => setting.to_string(),
        }),
        limits: report.limits.iter().map(ToString::to_string).collect(),
        waiting,
        ..figures(name, report, house.uptime().as_secs())
    }
}

fn figures(name: &str, report: &BindingReport, uptime_seconds: u64) -> BindingTotals {
    let rate = |count: u64| count as f64 / uptime_seconds.max(1) as f64;
    BindingTotals {
        name: name.to_owned(),
        open_connections: report.connections as u64,
        active_queue_size: report.active as u64,
        total_queue_size: report.total as u64,
        delivered_messages: report.delivered,
        failed_messages: report.failed,
        received_messages: report.received,
        resident_messages: report.resident as u64,
        delivery_rate: rate(report.delivered + report.failed),
        reception_rate: rate(report.received),
        uptime_seconds,
        ..BindingTotals::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(binding: &str, delivered: u64) -> BindingReport {
        BindingReport {
            binding_group: "bulk".into(),
            binding: binding.into(),
            connections: 1,
            active: 2,
            total: 3,
            resident: 1,
            received: delivered + 3,
            delivered,
            failed: 0,
            held: None,
            limits: Vec::new(),
            waits: Vec::new(),
        }
    }

    #[test]
    fn a_group_is_the_sum_of_its_members() {
        assert_eq!(sum(&[]), None);
        let sum = sum(&[report("out1", 7), report("out2", 10)]).unwrap();
        let totals = figures("bulk", &sum, 10);
        assert_eq!((totals.name.as_str(), totals.open_connections, totals.total_queue_size), ("bulk", 2, 6));
        assert_eq!((totals.delivered_messages, totals.received_messages), (17, 23));
        assert_eq!((totals.delivery_rate, totals.reception_rate), (1.7, 2.3));
    }
}
