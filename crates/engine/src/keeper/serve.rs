//! The keeper's long wait, and the orderly end.

use super::{
    boot::Kept,
    commands::{Commands, Site},
    expiry,
    protocol::Phase,
    socket,
    visitors::{self, Demands, Heard, Order, Reception, StopRequest},
};
use crate::{detached::Place, directories, engine::Engine, query, record, record::reason};
use agentkernel_backend::DriverState;
use agentkernel_egress::HostGateway;
use agentkernel_model::{Error, Kind, Result, egress::EgressRules, id::SandboxId, policy::Network};
use agentkernel_store::{Record, Stopped, Writer};
use std::{sync::Arc, time::Duration};
use tokio::{
    net::UnixListener,
    sync::{mpsc, watch},
    task::JoinSet,
};

/// What the processes of a sandbox are given when it expires or the machine shuts down.
const GRACE: Duration = Duration::from_secs(5);
/// Visitors at once; the next ones wait in the kernel's queue.
const MAX_VISITORS: usize = 32;
/// How long the last answers may take to be read, once all is over.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why a keeper ends its sandbox.
enum End {
    Asked(StopRequest),
    Expired,
    Gone,
    Terminated,
}

/// Keeps the sandbox until it is gone, and writes down why.
///
/// # Errors
/// When it could not be stopped in order, or that could not be written down.
pub(super) async fn serve(engine: &Engine, kept: Kept) -> Result<()> {
    let Kept {
        id,
        name,
        dir,
        backend,
        state,
        sandbox,
        gateway,
        ports,
        listener,
        mut terminate,
        expires_at,
        lock,
        image,
    } = kept;
    // Decided at its start: what it believes is made then.
    let trusts_gateway = gateway.as_ref().map(|g| g.authority().map(|pem| pem.is_some())).transpose()?;
    let captures_udp = of_record(engine, id)?.spec()?.policy.rules().is_some_and(EgressRules::let_udp_out);
    let started = Started { trusts_gateway: trusts_gateway.unwrap_or(false), captures_udp };
    let (demands, mut demanded) = mpsc::channel(MAX_VISITORS);
    let (phase, watched) = watch::channel(Phase::Running);
    let mut door = JoinSet::new();
    let commands = Commands::new(Site {
        name,
        place: Place::of(&dir),
        sandbox: Arc::clone(&sandbox),
        audit: engine.audit.clone(),
        database: directories::database(&engine.host),
        phase: watched.clone(),
    });
    let reception = Reception { visitor: 0, demands, phase: watched, commands: commands.clone() };
    door.spawn(receive_all(listener, reception));
    let watched = Arc::clone(&sandbox);
    let mut gone = watched.gone();
    let mut expired = Box::pin(expiry::reached(expires_at));
    let mut order = Demands::default();
    let (state, request, reason) = loop {
        let end = tokio::select! {
            Some(demand) = demanded.recv() => match order.hear(demand) {
                Some(Heard::Stop(request)) => End::Asked(request),
                Some(Heard::Obey(Order::Rules, done)) => {
                    let _left = done.send(obey(engine, id, gateway.as_deref(), started));
                    continue;
                }
                Some(Heard::Obey(Order::Expiry, done)) => {
                    let now = of_record(engine, id);
                    let _left = done.send(now.map(|now| expired.set(expiry::reached(now.expires_at))));
                    continue;
                }
                None => continue,
            },
            () = &mut gone => End::Gone,
            _ = terminate.recv() => End::Terminated,
            reached = &mut expired => reached.map(|()| End::Expired)?,
        };
        phase.send_replace(Phase::Stopping);
        let (grace, request, reason) = match end {
            End::Asked(request) => (request.grace, Some(request), None),
            End::Expired => (GRACE, None, Some(reason::EXPIRED)),
            End::Gone => (Duration::ZERO, None, Some(reason::ENDED)),
            End::Terminated => (GRACE, None, Some(reason::TERMINATED)),
        };
        match (backend.stop(id, &state, grace).await, request) {
            (Ok(state), request) => break (state, request, reason),
            // Who asked is told, and can ask again. The other ends have nobody to tell, and no second chance.
            (Err(error), Some(request)) => {
                phase.send_replace(Phase::Running);
                let _left = request.done.send(Err(error));
            }
            // It is gone whatever its engine says, which may be gone as well: the next start waits for the rest.
            (Err(_), None) if reason == Some(reason::ENDED) => break (state.clone(), None, reason),
            (Err(error), None) => return Err(error),
        }
    };
    drop((ports, image));
    commands.finish().await;
    if let Some(gateway) = gateway {
        gateway.finish().await;
    }
    let written = write_down(engine, id, &state, reason);
    // In this order: whoever sees the lock free may start the sandbox again at once, with a socket of its own.
    socket::forget(&dir.path).map_err(|e| Error::io("cannot remove the keeper's socket", e))?;
    drop(lock);
    let answer = match written {
        Err(error) if request.is_none() => return Err(error),
        other => other,
    };
    if let Some(request) = request {
        let _left = request.done.send(answer);
    }
    // The receptions end with these two.
    drop((demanded, phase));
    let _late = tokio::time::timeout(FAREWELL, door.join_next()).await;
    Ok(())
}

fn of_record(engine: &Engine, id: SandboxId) -> Result<Record> {
    query::by_id(engine, id)?.ok_or_else(|| Error::new(Kind::NotFound, "the sandbox was removed meanwhile"))
}

/// What was decided about a sandbox's network when it started.
#[derive(Debug, Clone, Copy)]
struct Started {
    /// Only then can its requests be read.
    trusts_gateway: bool,
    /// Only then does its UDP come to the gateway.
    captures_udp: bool,
}

/// Has `gateway` decide by the rules that the record has now.
fn obey(engine: &Engine, id: SandboxId, gateway: Option<&HostGateway>, started: Started) -> Result<()> {
    let record = of_record(engine, id)?;
    let (Network::Rules(rules), Some(gateway)) = (record.spec()?.policy.network, gateway) else {
        return Err(Error::new(Kind::Conflict, "the sandbox runs without a gateway")
            .with_hint("stop it and start it again"));
    };
    if !started.trusts_gateway && rules.rules.iter().any(|rule| rule.http().is_some()) {
        return Err(Error::new(
            Kind::Conflict,
            "rules about requests need a gateway that the sandbox trusts, and this one was started without such rules",
        )
        .with_hint(format!("stop it with 'agentkernel sandbox stop {}', change them, and start it again", record.name)));
    }
    if !started.captures_udp && rules.let_udp_out() {
        return Err(Error::new(
            Kind::Conflict,
            "a rule that lets UDP out has to be there when the sandbox starts, and this one was started without such rules",
        )
        .with_hint(format!("stop it with 'agentkernel sandbox stop {}', change them, and start it again", record.name)));
    }
    gateway.set_rules(rules);
    Ok(())
}

/// Lets visitors in until the keeper is done, then waits for those that are still being answered.
async fn receive_all(listener: UnixListener, mut reception: Reception) {
    let mut phase = reception.phase.clone();
    let mut inside = JoinSet::new();
    loop {
        tokio::select! {
            changed = phase.changed() => if changed.is_err() { break },
            accepted = listener.accept(), if inside.len() < MAX_VISITORS => {
                // A visitor who left before being let in, or no descriptor for them: the loop goes on either way.
                if let Ok((stream, _)) = accepted {
                    reception.visitor += 1;
                    inside.spawn(visitors::receive(stream, reception.clone()));
                }
            },
            Some(_) = inside.join_next(), if !inside.is_empty() => {}
        }
    }
    drop(listener);
    while inside.join_next().await.is_some() {}
}

fn write_down(engine: &Engine, id: SandboxId, state: &DriverState, reason: Option<&str>) -> Result<()> {
    let state = record::encode_state(state)?;
    let stopped = Stopped { state: &state, reason };
    Writer::open(&directories::database(&engine.host))?.set_stopped(id, stopped)?;
    // Who asked for it writes it down; what happens by itself only its keeper sees.
    if let (Some(reason), Ok(Some(record))) = (reason, query::by_id(engine, id)) {
        engine.audit.stopped(&record.name, Some(reason));
    }
    Ok(())
}
