//! All traffic of one sandbox, until it ends.

use crate::{dns, flow, gateway::Shared, packets, patience::Patience, shortage::Shortage};
use agentkernel_backend::Uplink;
use std::{io, sync::Arc};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::timeout,
};

/// Serves `uplink`. Every task started here ends with this future.
pub(crate) async fn serve(shared: Arc<Shared>, uplink: Arc<dyn Uplink>) {
    let mut flows = JoinSet::new();
    let mut queries = JoinSet::new();
    let ended = watch::Sender::new(false);
    let mut finishing = shared.finishing.subscribe();
    tokio::select! {
        _ = finishing.wait_for(|finishing| *finishing) => {}
        () = accept(&shared, uplink.as_ref(), &mut flows, &ended) => {}
        () = receive(&shared, &uplink, &mut queries) => {}
        () = packets::serve(&shared, &uplink) => {}
    }
    ended.send_replace(true);
    drop((queries, uplink));
    // Commands that wrote and ended: their last bytes are on the way. Their sockets hold the sandbox's network, so
    // this has an end.
    let drained = async { while flows.join_next().await.is_some() {} };
    let _ = timeout(shared.limits.drain, drained).await;
}

/// Takes connections while there are places; without one the sandbox's own backlog fills.
async fn accept(
    shared: &Arc<Shared>,
    uplink: &dyn Uplink,
    flows: &mut JoinSet<()>,
    ended: &watch::Sender<bool>,
) {
    let most = shared.limits.flows.min(uplink.most_connections()).max(1);
    let places = Arc::new(Semaphore::new(most));
    let mut patience = Patience::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match next(flows, || uplink.accept()).await {
            Ok(flow) => {
                patience.renew();
                if places.available_permits() == 0 {
                    shared.lack(Shortage::Connections(most));
                }
                flows.spawn(flow::serve(Arc::clone(shared), flow, place, ended.subscribe()));
            }
            Err(e) => {
                drop(place);
                shared.check(&e);
                if !patience.endure(&e).await {
                    return;
                }
            }
        }
    }
}

/// Takes DNS questions while there are places.
async fn receive(shared: &Arc<Shared>, uplink: &Arc<dyn Uplink>, queries: &mut JoinSet<()>) {
    let most = shared.limits.queries.max(1);
    let places = Arc::new(Semaphore::new(most));
    let mut patience = Patience::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match next(queries, || uplink.receive()).await {
            Ok(datagram) => {
                patience.renew();
                if places.available_permits() == 0 {
                    shared.lack(Shortage::Questions(most));
                }
                let (shared, uplink) = (Arc::clone(shared), Arc::clone(uplink));
                queries.spawn(async move {
                    let answer = dns::respond(&shared, &datagram.payload, dns::Transport::Udp).await;
                    if let Some(answer) = answer {
                        // Fails only when the sandbox is gone, and that ends the loop above.
                        let _ = uplink.reply(datagram.peer, &answer).await;
                    }
                    drop(place);
                });
            }
            Err(e) => {
                drop(place);
                shared.check(&e);
                if !patience.endure(&e).await {
                    return;
                }
            }
        }
    }
}

/// The next arrival; finished tasks are let go meanwhile.
async fn next<T, F: Future<Output = io::Result<T>>>(
    tasks: &mut JoinSet<()>,
    arrival: impl FnOnce() -> F,
) -> io::Result<T> {
    let mut arrival = std::pin::pin!(arrival());
    loop {
        tokio::select! {
            Some(_) = tasks.join_next() => {}
            arrived = &mut arrival => return arrived,
        }
    }
}
