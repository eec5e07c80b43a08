//! A leased point, a gate that can be cut off from it, and what is between them.

use std::path::PathBuf;
use std::sync::Arc;

use super::wire::{end, proxied, proxy};
use crate::call::{Call, PAY, Phase};
use crate::disk::Disk;
use crate::inside::{Inside, Setting};
use crate::points::{Client, Errand, Wrapper};
use crate::round::Round;
use crate::scene::Scene;
use crate::trouble::Trouble;
use crate::wire::Wire;

/// One round of it.
pub(super) struct Stage {
    pub(super) round: Arc<Round>,
    pub(super) inside: Inside,
    disk: Disk,
}

impl Stage {
    /// Nothing is broken yet, and the point has its lease.
    pub(super) async fn set(scene: &mut Scene) -> Result<Self, Trouble> {
        let setting = proxied(scene);
        Self::under(scene, setting).await
    }

    /// The same with a gate of another setting.
    pub(super) async fn under(scene: &mut Scene, setting: Setting) -> Result<Self, Trouble> {
        let (round, disk) = (scene.round()?, Disk::new());
        let inside = scene.open(&disk, &setting, &round).await?;
        scene.control(&round, &inside).await;
        Ok(Self { round, inside, disk })
    }

    pub(super) fn wrapper(&self) -> Result<&Wrapper, Trouble> {
        match self.inside.client.as_ref() {
            Client::Remote(wrapper) => Ok(wrapper),
            _ => Err(Trouble::new("this point is no wrapper")),
        }
    }

    /// The one journal that the gate does not have yet.
    pub(super) fn journal(&self) -> Result<PathBuf, Trouble> {
        self.wrapper()?.journals().pop().ok_or_else(|| Trouble::new("the point wrote no journal"))
    }

    pub(super) fn wire(&self, wire: Wire) -> Result<(), Trouble> {
        proxy(&self.inside)?.set(wire);
        Ok(())
    }

    /// Nobody reaches the gate any more.
    pub(super) fn away(&self) -> Result<(), Trouble> {
        self.wire(Wire::CutBefore)
    }

    pub(super) fn calls(&self, count: u64) -> Vec<Call> {
        (0..count).map(|_| self.round.one(PAY, Phase::Fault)).collect()
    }

    /// Makes so many calls, one after the other, of which exactly the first `may` must run.
    pub(super) async fn run(&self, count: u64, may: u64) {
        for (call, place) in self.calls(count).into_iter().zip(0u64..) {
            let times = u64::from(place < may);
            self.round.limit(call.n, times, times);
            self.round.ask(&self.inside.client, vec![call], 1).await;
        }
    }

    /// Kills the point and starts it again.
    pub(super) async fn restart(&mut self, scene: &Scene, errand: &Errand) -> Result<(), Trouble> {
        self.wrapper()?.kill().await?;
        self.inside.client = scene.wrapper(&self.inside, errand, &self.round).await?;
        Ok(())
    }

    /// The gate is back.
    pub(super) async fn end(self, scene: &mut Scene) -> Result<(), Trouble> {
        end(scene, &self.round, self.inside, &self.disk).await
    }
}
