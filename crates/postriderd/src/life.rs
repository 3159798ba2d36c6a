//! The life of the daemon on its master scheduler: listens, runs until asked to stop, ends in order.
//!
//! The order of the end: no new connections, sessions get 421, deliveries in flight finish or return to their queue, the
//! spool is closed with everything on disk, logs are flushed. Mail that is safe stays safe whatever of this is cut short.

use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use config::Lookup;
use io_wrapper::IoWrappers;
use message::IdGenerator;

use crate::boot::Booted;
use crate::exit::Failure;
use crate::house::House;
use crate::pidfile::Pidfile;
use crate::signals::Signals;
use crate::{PRODUCT, VERSION, background, descriptors, generation};
use declarations::daemon::PIDFILE;

/// Runs the daemon to its end.
pub fn live(booted: Booted, signals: Signals, in_background: bool) -> Result<(), Failure> {
    let Booted { master, house, arrivals, console, loops, intake, ids, files, memory, mut footprint } = booted;
    let rooms = house.clone();
    let began = &mut footprint;
    let result = master.run(async move {
        tokio::task::spawn_local(arrivals.serve(console));
        let pidfile = listen(&rooms, &files)?;
        began.keep();
        if !in_background {
            say_where(&rooms);
        }
        descriptors::take_stock(&rooms.descriptors, &rooms.configuration.current());
        read_spool(&rooms, intake, ids);
        announce(in_background)?;
        tokio::task::spawn_local(signals.obey(rooms.clone()));
        let mut stop = rooms.stop.subscribe();
        let _ = stop.wait_for(Option::is_some).await;
        let why = stop.borrow().unwrap_or("");
        tracing::info!(target: "START", "Milestone: stopping ({why})");
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        limit_the_stop();
        stop_rooms(&rooms).await;
        Ok(pidfile)
    });
    drop(memory);
    loops.shutdown();
    house.pools.shutdown();
    house.spool.close();
    tracing::info!(target: "START", "Milestone: {PRODUCT} {VERSION} stopped");
    house.log_writer.stop();
    // The last thing of it that is seen to go; with it, if the start failed, what that had made.
    result.map(drop)
}

/// Tells whoever has started it in front where it can be reached.
fn say_where(house: &House) {
    let netlisteners = house.netlisteners.lock().unwrap_or_else(PoisonError::into_inner);
    let mut said: Vec<String> = netlisteners.endpoints().map(ToString::to_string).collect();
    said.sort();
    eprintln!("{PRODUCT} {VERSION}, process {}, listens: {}", std::process::id(), said.join(", "));
}

/// Takes the addresses, then the pidfile, which until then may be that of another daemon and is none of ours; clients last.
fn listen(house: &House, files: &IoWrappers) -> Result<Pidfile, Failure> {
    let current = house.configuration.current();
    let plan = generation::bind(&current, &house.netlisteners).map_err(Failure::System)?;
    let pidfile = Pidfile::write(&current.get(&PIDFILE, &Lookup::Global), files)?;
    house.netlisteners.lock().unwrap_or_else(PoisonError::into_inner).commit(plan);
    Ok(pidfile)
}

/// Hands what the spool holds to the queues, on a thread of its own, while new mail is being taken.
fn read_spool(house: &Rc<House>, intake: queue::Intake, ids: Arc<IdGenerator>) {
    let configuration = house.configuration.clone();
    let mut keys = queue::Keys::new(configuration.current());
    let mut restorer = intake.restorer();
    let read = house.spool.process_disk_queue(Box::new(move |mut envelope| {
        // The clock may have been set back since: no new id may equal one of the spool's.
        ids.raise_above(envelope.id);
        let current = configuration.current();
        if !Arc::ptr_eq(&current, keys.generation()) {
            keys = queue::Keys::new(current);
        }
        // A gateway or a binding may have changed while the daemon was down.
        envelope.queue = keys.queue(&envelope);
        restorer.give(envelope);
    }));
    tokio::task::spawn_local(async move {
        match read.await {
            Ok(()) => tracing::info!(target: "SPOOL", "Milestone: the spool has been read"),
            Err(error) => tracing::error!(target: "SPOOL", "the spool was not read to its end: {error}"),
        }
    });
}

fn announce(in_background: bool) -> Result<(), Failure> {
    tracing::info!(target: "START", "Milestone: {PRODUCT} {VERSION} listens, process {}", std::process::id());
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    if in_background {
        background::report_ready().map_err(|error| Failure::System(format!("cannot leave the terminal: {error}")))?;
    }
    Ok(())
}

async fn stop_rooms(house: &Rc<House>) {
    let drained = {
        let mut netlisteners = house.netlisteners.lock().unwrap_or_else(PoisonError::into_inner);
        netlisteners.stop();
        netlisteners.drained()
    };
    if tokio::time::timeout(SESSIONS_GRACE, drained).await.is_err() {
        tracing::warn!(target: "START", "sessions were cut off after {} s", SESSIONS_GRACE.as_secs());
    }
    match tokio::time::timeout(DELIVERIES_GRACE + LOOPS_GRACE, house.engine.stop(DELIVERIES_GRACE)).await {
        Ok(0) => {}
        Ok(cut_off) => tracing::warn!(target: "START", "{cut_off} messages in delivery were returned to their queues"),
        Err(_) => tracing::error!(target: "START", "an event loop does not answer; its messages stay in the spool"),
    }
}

/// A thread or a loop that never ends must not keep the daemon from ending: after the limit the process exits as it is,
/// which the journal makes safe.
fn limit_the_stop() {
    let last_resort = || {
        std::thread::sleep(STOP_LIMIT);
        eprintln!("postriderd: not stopped after {} s; leaving as it is", STOP_LIMIT.as_secs());
        std::process::exit(70);
    };
    if let Err(error) = std::thread::Builder::new().name("stop limit".to_owned()).spawn(last_resort) {
        tracing::warn!(target: "START", "the stop has no limit: {error}");
    }
}

/// How long sessions have to take their 421.
const SESSIONS_GRACE: Duration = Duration::from_secs(5);
/// How long deliveries in flight have to finish.
const DELIVERIES_GRACE: Duration = Duration::from_secs(20);
/// How long an event loop may take to answer beyond that.
const LOOPS_GRACE: Duration = Duration::from_secs(5);
/// How long the whole stop may take; below the unit file's TimeoutStopSec.
const STOP_LIMIT: Duration = Duration::from_secs(60);
