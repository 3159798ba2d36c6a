//! The life of the daemon on its master scheduler: listens, runs until asked to stop, ends in order.
//!
//! The order of the end: no new connections, sessions get 421, deliveries in flight finish or return to their queue, the
//! spool is closed with everything on disk, logs are flushed. Mail that is safe stays safe whatever of this is cut short.

use std::rc::Rc;
use std::sync::PoisonError;
use std::time::Duration;

use config::Lookup;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::boot::Booted;
use crate::exit::Failure;
use crate::house::House;
use crate::options::PIDFILE;
use crate::pidfile::Pidfile;
use crate::{PRODUCT, VERSION, background, generation};

/// Runs the daemon to its end.
pub fn live(booted: Booted, in_background: bool) -> Result<(), Failure> {
    let Booted { master, house, arrivals, console, loops, log_writer, intake, files } = booted;
    let pidfile = house.configuration.current().get(&PIDFILE, &Lookup::Global);
    let pidfile = Pidfile::write(&pidfile, &files)?;
    let rooms = house.clone();
    let result = master.run(async move {
        tokio::task::spawn_local(arrivals.serve(console));
        listen(&rooms)?;
        read_spool(&rooms, intake);
        let signals = Signals::catch()?;
        announce(in_background)?;
        tokio::task::spawn_local(signals.obey(rooms.clone()));
        let mut stop = rooms.stop.subscribe();
        let _ = stop.wait_for(Option::is_some).await;
        let why = stop.borrow().unwrap_or("");
        tracing::info!(target: "START", "Milestone: stopping ({why})");
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        stop_rooms(&rooms).await;
        Ok(())
    });
    loops.shutdown();
    house.pools.shutdown();
    house.spool.close();
    tracing::info!(target: "START", "Milestone: {PRODUCT} {VERSION} stopped");
    log_writer.stop();
    drop(pidfile);
    result
}

fn listen(house: &House) -> Result<(), Failure> {
    let plan = generation::bind(&house.configuration.current(), &house.netlisteners).map_err(Failure::System)?;
    house.netlisteners.lock().unwrap_or_else(PoisonError::into_inner).commit(plan);
    Ok(())
}

/// Hands what the spool holds to the queues, on a thread of its own, while new mail is being taken.
fn read_spool(house: &Rc<House>, intake: queue::Intake) {
    let read = house.spool.process_disk_queue(Box::new(move |envelope| {
        intake.restore_blocking(envelope);
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
    let cut_off = house.engine.stop(DELIVERIES_GRACE).await;
    if 0 < cut_off {
        tracing::warn!(target: "START", "{cut_off} messages in delivery were returned to their queues");
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn catch() -> Result<Self, Failure> {
        let catch = |kind| signal(kind).map_err(|error| Failure::System(format!("cannot catch signals: {error}")));
        Ok(Self {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            hangup: catch(SignalKind::hangup())?,
        })
    }

    async fn obey(mut self, house: Rc<House>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => house.request_stop("SIGTERM"),
                _ = self.interrupt.recv() => house.request_stop("SIGINT"),
                _ = self.hangup.recv() => {
                    // The result is in the paniclog: a signal has nobody to answer to.
                    let _ = house.reload(None).await;
                }
            }
        }
    }
}

/// How long sessions have to take their 421.
const SESSIONS_GRACE: Duration = Duration::from_secs(5);
/// How long deliveries in flight have to finish.
const DELIVERIES_GRACE: Duration = Duration::from_secs(20);
