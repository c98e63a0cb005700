//! The lists of addresses: who may use which listener, and whose word on a client's address is taken.

use std::net::IpAddr;

use berry_config::Config;
use berry_vocab::Nets;

use crate::origin::Origin;

/// Where somebody wants to come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The data listener.
    Data,
    /// The admin listener.
    Admin,
    /// Pages of either that say whether the gateway is well. Those who look after it (orchestrators, load balancers) ask from
    /// addresses of their own, and would take it down if they could not; so that a list which allows does not hold here.
    Probe,
}

/// The lists.
pub(crate) struct Addresses {
    trusted_proxies: Nets,
    proxy_protocol: bool,
    deny: Nets,
    allow_data: Nets,
    allow_admin: Nets,
}

impl Addresses {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            trusted_proxies: config.server.trusted_proxies.clone(),
            proxy_protocol: config.server.proxy_protocol,
            deny: config.security.deny_ips.clone(),
            allow_data: config.security.allow_ips.clone(),
            allow_admin: config.admin.allow_ips.clone(),
        }
    }

    /// Whether a connection from there must begin with a header of the PROXY protocol. From others one is taken for what it then
    /// is: no HTTP.
    pub(crate) fn expects_header(&self, peer: IpAddr) -> bool {
        self.proxy_protocol && self.trusted_proxies.contains(peer)
    }

    /// Where a request comes from.
    pub(crate) fn origin<'f>(&self, peer: IpAddr, fields: impl Iterator<Item = (&'f [u8], &'f [u8])>) -> Origin {
        Origin::of(peer, &self.trusted_proxies, fields)
    }

    /// Whether it may come in there. What denies wins over what allows.
    pub(crate) fn let_in(&self, origin: Origin, door: Door) -> bool {
        let allowed = match door {
            Door::Data => origin.is_allowed_by(&self.allow_data),
            Door::Admin => origin.is_allowed_by(&self.allow_admin),
            Door::Probe => true,
        };
        allowed && !origin.is_denied_by(&self.deny)
    }
}
