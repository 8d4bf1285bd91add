//! Detection of programs that declare themselves in their user agent: crawlers, link previews and
//! uptime monitors.

/// Words, in lower case, that occur in the user agents of such programs and in no browser's.
const WORDS: &[&str] = &[
    // Generic names of crawlers.
    "crawler",
    "spider",
    "slurp",
    // Link previews of chats and social networks.
    "facebookexternalhit",
    "facebookcatalog",
    "meta-externalagent",
    "whatsapp/",
    "skypeuripreview",
    "iframely",
    "embedly",
    "vkshare",
    "mastodon/",
    "pleroma",
    "akkoma",
    "misskey",
    "synapse/",
    "google-pagerenderer",
    "google-read-aloud",
    "google-inspectiontool",
    "mediapartners-google",
    "feedfetcher",
    // Uptime monitors and health checks.
    "uptime-kuma",
    "uptimekuma",
    "pingdom",
    "statuscake",
    "site24x7",
    "hetrixtools",
    "updown.io",
    "newrelicpinger",
    "datadog/synthetics",
    "freshping",
    "gatus/",
    "blackbox exporter",
    "blackbox-exporter",
    "kube-probe/",
    "elb-healthchecker",
    "googlehc/",
    "check_http",
    // Internet scanners.
    "zgrab",
    "masscan",
    "censysinspect",
    "internetmeasurement",
    "expanse",
    "nmap scripting engine",
];

/// Whether the user agent is a crawler's, a link preview's or an uptime monitor's. Only its first
/// 512 bytes are searched.
pub(super) fn is_bot(agent: &[u8]) -> bool {
    let agent = &agent[..agent.len().min(512)];
    let agent = String::from_utf8_lossy(agent).to_ascii_lowercase();
    WORDS.iter().any(|word| agent.contains(word)) || has_word_ending_in_bot(&agent)
}

/// `bot` ends a word: `Googlebot/2.1`, `Better Uptime Bot`. `Cubot` is excluded, a brand of phones.
fn has_word_ending_in_bot(agent: &str) -> bool {
    agent.match_indices("bot").any(|(at, _)| {
        let ends = !agent[at + 3..].starts_with(|c: char| c.is_ascii_alphabetic());
        ends && !agent[..at].ends_with("cu")
    })
}
