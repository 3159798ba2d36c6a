//! `memory`: what memory is used for, owner by owner, and how far that is from its marks.
//!
//! The types are the owners of `scheduler::Meters`, each charged by the room that allocates. The messages of the queues are
//! objects of one size, so they are shown with their number too.

use std::rc::Rc;

use console::shapes::{AllocatorReport, Exceeded, FixedType, MemoryReport, Shape as _, VariableType};
use console::{Command, CommandError};
use scheduler::Pressure;

use super::command;
use crate::allocator::{self, Allocated};
use crate::house::House;
use crate::memory::Reading;

/// The family.
pub fn commands(house: &Rc<House>) -> Vec<Command> {
    let memory = command(house, "memory [TYPE]", "what memory is used for", |house, asked| async move {
        let wanted = match asked.args.as_slice() {
            [] => None,
            [wanted] => Some(wanted.as_str()),
            _ => return Err(CommandError::Usage("memory takes one TYPE at most".to_owned())),
        };
        let report = report(&house, wanted).await?;
        Ok(report.reply())
    });
    vec![memory.help(
        "RSS is what the types add up to: what memory_goal and memory_hwm are compared with, which are percentages of what\n\
        the daemon may have less what is unaccounted. System RSS is what the kernel counts, mapped files too. Unaccounted is\n\
        resident and belongs to no type. Of that the lines of the allocator tell: what is allocated beyond RSS are small\n\
        things that nobody charges, and sizes rounded up; active beyond allocated are gaps in pages; resident beyond active\n\
        is freed, and given back within seconds; what System RSS has beyond are code, stacks and files. Retained are\n\
        addresses without memory. Percentages are of the memory the daemon may have.",
    )]
}

async fn report(house: &House, wanted: Option<&str>) -> Result<MemoryReport, CommandError> {
    let counts = house.engine.counts().await;
    let (meters, generation) = (house.meters.clone(), house.configuration.current());
    // A read of /proc can wait for the kernel's locks: not on the master scheduler.
    let read = move || Reading::take(&io_wrapper::IoWrappers::new(), &meters, &generation);
    let Some(reading) = house.pools.get("IO").run(read).await.ok().flatten() else {
        return Err(CommandError::failed("/proc/self/status and /proc/meminfo cannot be read: is /proc mounted?"));
    };
    let is_wanted = |name: &str| wanted.is_none_or(|wanted| wanted.eq_ignore_ascii_case(name));
    let messages = FixedType {
        name: QUEUED.to_owned(),
        object_bytes: queue::QUEUED_BYTES as u64,
        active: (counts.active + counts.delayed + counts.in_flight) as u64,
        peak: counts.peak as u64,
        allocated: counts.allocated as u64,
    };
    let owners = house.meters.memory_owners();
    let variable: Vec<VariableType> = owners
        .iter()
        .filter(|(name, _)| is_wanted(name))
        .map(|(name, owner)| VariableType {
            name: name.clone(),
            current_bytes: owner.octets(),
            peak_bytes: Some(owner.peak()),
            mmap_count: 0,
        })
        .collect();
    if variable.is_empty() {
        let names: Vec<&str> = owners.iter().map(|(name, _)| name.as_str()).collect();
        return Err(CommandError::failed(format!("no such type; there are {}", names.join(", "))));
    }
    Ok(MemoryReport {
        fixed: Some(messages).into_iter().filter(|fixed| is_wanted(&fixed.name)).collect(),
        variable,
        accounted_bytes: reading.accounted,
        system_rss_bytes: reading.resident,
        unaccounted_bytes: reading.unaccounted(),
        whole_bytes: reading.whole,
        goal_bytes: reading.goal(),
        high_water_bytes: reading.high_water(),
        exceeded: match reading.pressure() {
            Pressure::None => Exceeded::Nothing,
            Pressure::Goal => Exceeded::Goal,
            Pressure::HighWater => Exceeded::HighWater,
        },
        bodies_dropped: house.meters.total("queue.resident.dropped"),
        allocator: allocator::figures().map(|Allocated { allocated, active, resident, retained }| AllocatorReport {
            allocated_bytes: allocated,
            active_bytes: active,
            resident_bytes: resident,
            retained_bytes: retained,
        }),
    })
}

/// The owner whose objects have one size.
const QUEUED: &str = "queue:messages";
