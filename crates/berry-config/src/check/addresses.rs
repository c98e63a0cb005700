//! Lists of addresses: networks that are not what they look like, and lists that leave nobody.

use std::net::IpAddr;

use berry_vocab::{Net, Nets};

use crate::check::Tables;
use crate::checked::Checked;
use crate::problem::Problems;
use crate::registry::Rule;

pub(crate) fn check(tables: &Tables, problems: &mut Problems) {
    let [server, admin, security] = ["server", "admin", "security"].map(|name| tables.top(name));
    for table in [&server, &admin, &security].into_iter().chain(&tables.users) {
        loose_bits(table, problems);
    }
    proxies(&server, problems);
    let lists = Lists {
        proxies: server.nets("trusted_proxies"),
        deny: security.nets("deny_ips"),
        data: security.nets("allow_ips"),
        admin: admin.nets("allow_ips"),
    };
    lists.listener(&server, &security, &lists.data, problems);
    lists.listener(&admin, &admin, &lists.admin, problems);
    for user in tables.users.iter().filter(|user| user.flag("enabled")) {
        lists.user(user, problems);
    }
}

fn loose_bits(table: &Checked, problems: &mut Problems) {
    for key in table.table.keys.iter().filter(|key| matches!(key.rule, Rule::Nets)) {
        for text in table.texts(key.name) {
            if let Some(net) = Net::parse(&text.value).filter(Net::has_loose_bits) {
                let message = format!("`{}` is the whole of {net}: bits behind the length do not count", text.value);
                problems.warning(&text.place, message, format!("write `{net}`, or the address without a length"));
            }
        }
    }
}

fn proxies(server: &Checked, problems: &mut Problems) {
    let all: Nets = ["0.0.0.0/1", "128.0.0.0/1"].iter().filter_map(|net| Net::parse(net)).collect();
    let proxies = server.nets("trusted_proxies");
    if proxies.covers(&all) || Net::parse("::/0").is_some_and(|net| proxies.covers(&Nets::from_iter([net]))) {
        let message = "everybody is trusted as a proxy, and so may claim to come from anywhere";
        let remedy = "name the addresses of the proxies alone; behind none, remove the key";
        problems.warning(&server.at("trusted_proxies"), message, remedy);
    }
    if server.flag("proxy_protocol") && proxies.is_empty() {
        let message = "`proxy_protocol` has no effect: no proxy is trusted";
        problems.warning(&server.at("proxy_protocol"), message, "name the proxies in trusted_proxies, or remove it");
    }
}

/// The lists that hold for all.
struct Lists {
    proxies: Nets,
    deny: Nets,
    data: Nets,
    admin: Nets,
}

impl Lists {
    /// Whether somebody can come in where `allow`, which stands in `table`, decides.
    fn listener(&self, listener: &Checked, table: &Checked, allow: &Nets, problems: &mut Problems) {
        if allow.is_empty() {
            return;
        }
        let at = table.at("allow_ips");
        if self.deny.covers(allow) {
            let message = "nobody may come in: security.deny_ips holds every address of this list, and wins";
            problems.warning(&at, message, "take them out of security.deny_ips, or add others here");
        }
        let loopback: Nets = ["127.0.0.0/8", "::1"].iter().filter_map(|net| Net::parse(net)).collect();
        let is_local =
            listener.listen("listen").is_some_and(|address| IpAddr::is_loopback(&address.ip().to_canonical()));
        if is_local && !allow.overlaps(&loopback) && !self.proxies.overlaps(&loopback) {
            let message =
                "nobody may come in: the listener is reached from this machine alone, which is not in this list";
            let remedy = "add 127.0.0.1; or, behind a proxy on this machine, name it in server.trusted_proxies";
            problems.warning(&at, message, remedy);
        }
    }

    /// Whether a user's list leaves it an address.
    fn user(&self, user: &Checked, problems: &mut Problems) {
        let own = user.nets("allowed_ips");
        if own.is_empty() {
            return;
        }
        let is_admin = user.strings("tags").iter().any(|tag| tag == "admin");
        let fits = |allow: &Nets| allow.is_empty() || allow.overlaps(&own);
        let somewhere = fits(&self.data) || (is_admin && fits(&self.admin));
        if self.deny.covers(&own) || !somewhere {
            let message =
                format!("`{}` may come from nowhere: the lists of [security] leave it none of these", user.id);
            let remedy = "add its addresses to security.allow_ips, or take them out of security.deny_ips";
            problems.warning(&user.at("allowed_ips"), message, remedy);
        }
    }
}
