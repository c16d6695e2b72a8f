"""Every parameter of the automatic correlation: its name, unit, default and reason.

They lie on a plateau: halving or doubling any one of them moves the quality by about two
hundredths. What matters is which ideas are there, not their constants. Severity weights are indexed
by `Severity`.
"""

from __future__ import annotations

# -- how strongly alerts belong together: affinity, in [0, 1] --------------------------------

JOIN = 0.30  # least affinity that joins an alert to a cluster
MERGE = 0.50  # least affinity at which an alert also ties a second cluster to the first
MERGE_YOUNG = 600.0  # s since its first alert in which a cluster can still be merged
MERGE_HOPS = 2  # between the alert and what ties it to either
SESSION = 0.90  # the same session of a polled source
SESSION_TELLS = 1.7  # how much the CIs of a session must tell together
STRANGE = 0.50  # least affinity that joins a strange measurement, which draws nothing in itself
STRANGE_WITHIN = 600.0  # s; to what has alerted since
NOISY_MARGIN = 0.55  # x its noise: what a noisy alert needs beyond JOIN

SAME = 0.95  # the same CI alerts again
AT_HAND = 300.0  # s; what fires already in one cluster is looked for nowhere else
SAME_FIRING = 7200.0  # s; how fast that fades while it still fires: hours later it is the same
SAME_OTHER = 1200.0  # s; the same where another check of it still fires: it may be chronic
SAME_CLEARED = 420.0  # s; the same once it has cleared
DOWN_CASCADE = 2400.0  # s; one hop below what still fires: queues fill and disks run full slowly
DOWN = 420.0  # s; any other consequence of what alerts
DOWN_EARLY = 150.0  # s; a consequence that was seen before its cause
SILENT_STEP = 0.6  # for each CI on the way that says nothing though it should be affected too
SUSPECT = 0.5  # what was changed a moment ago is rather a cause, and no part of what began before
CHANGE_WITHIN = 900.0  # s; that moment
UP = 400.0  # s; what others depend on alerts after them
UP_LEAST, UP_SHARE = 0.55, 0.45  # of it for explaining some; for explaining all
COMMON = 180.0  # s; both depend on something that says nothing
COVER = 1.5  # times the share of its dependants that alert; a hub is no explanation for two of 300
HUB_FADES = 120.0  # s in which an alert counts towards that share, wherever it was put
HUB_FORGOTTEN = 1200.0  # s; nothing is left of it after that long
ALIKE_STORM = 0.42  # the same name on many CIs named alike
ALIKE_STORM_FADES = 90.0  # s; how fast that fades
ALIKE_NAMES, ALIKE_SHAPES = 6, 5  # CIs with the same name, and named alike, that make it many
ALIKE = 0.5  # the same name on a CI with another last number, and nothing it depends on alerts
ALIKE_FADES = 150.0  # s; how fast that fades
ISLAND = 0.5  # nothing is known of what the CI depends on, and hardly anything else goes on
ISLAND_FADES = 120.0  # s; how fast that fades
ISLAND_CLUSTERS = 2  # at most, that may go on near it
STORM_CIS = 100  # a cluster that wide is a storm; beside it, time alone proves nothing
STORM_FOR = 300.0  # s; since its last alert

SCAN = 24  # the newest clusters looked at for each CI they depend on, or name
TIED = 0.30  # strength from which one CI is said to depend on another

# -- when a cluster has gathered enough to be raised -----------------------------------------

WEIGHTS = (0.0, 0.0, 0.35, 0.45, 0.85, 1.0)  # evidence of one alert, by severity
STRONG, STRONG_AFTER = 2.5, 20.0  # evidence, and s since the first alert
FAIR, FAIR_AFTER = 1.7, 40.0  # the same where there is less of it
GRAVE_AFTER = 200.0  # s; major or worse, whatever else there is: most blips are over by then
PROVEN_AFTER = 30.0  # s; major or worse, of a check that has been right before
PROVEN_TIMES, PROVEN_NOISE = 2, 0.30  # how often it was, and its noise at most
SLIGHT_AFTER = 280.0  # s; minor and warning
ABSORB, ABSORB_ROOT = 0.33, 0.25  # mean affinity to another cluster, and its own root's
ABSORB_REVIEW = 0.40  # the same at a review, when it has been raised already
ABSORB_CIS = 60  # the widest cluster that is tried
REVIEWS = (45.0, 150.0)  # s after raising
SPLIT_CIS = 80  # the widest cluster that is tried
SPLIT_LEAST = 3  # CIs below a root of its own
SPLIT_APART = 0.35  # strength of an ancestor that keeps two roots together

# -- when it is over --------------------------------------------------------------------------

OVER_SHARE = 0.35  # still firing: one clear in eight never comes
OVER_AFTER = 300.0  # s it must stay so
FORGET_AFTER = 600.0  # s in which it can come back; after that it is a recurrence

# -- what is noise ----------------------------------------------------------------------------

BLIP = 300.0  # s; a clear within it, with nothing around it, is a blip
BLIPS = 3  # of a check before it can be called noisy
NOISY = 0.55  # share of blips above which it is
WIDE = 2  # CIs beyond which a cluster is no coincidence

# -- root candidates ---------------------------------------------------------------------------

ROOT_DEPENDS = 0.5  # off, for alerting dependencies of its own
ROOT_GIVEN = 0.5  # power of a strength, given that both ends alert
ROOT_EARLY, ROOT_FADES = 0.15, 120.0  # on, for being first; s
ROOT_SEVERITY = 0.2  # on, for its gravest alert, less where that check cries wolf
ROOT_CHANGED, ROOT_CHANGE_WITHIN = 0.35, 1200.0  # on, for a change; s before it alerted
ROOT_SILENT = 0.35  # off, for saying nothing itself
GROWN = 1.5  # times as many CIs as when it was last ranked: it is looked at again
ROOTS = 3  # shown
RANKED = 300  # CIs a cluster may have for all of them to be ranked
RANKED_WIDEST = 50  # else the ones that most depend on

# -- time --------------------------------------------------------------------------------------

LAGS = 9  # of a CI, whose median is its clock's own error
LAG_LEAST = 3  # before it is believed
LAG_ABSURD = 1900.0  # s; no queue is that long, so it is the clock
LATE_MOST = 1800.0  # s an onset is put back at most

# -- bounds ------------------------------------------------------------------------------------

MAX_CLUSTERS = 10_000  # gathering, raised, or over for less than FORGET_AFTER
KEPT = 1_000  # CIs of a cluster, and names on them, that stay when their alerts are forgotten
MAX_STEMS = 10_000  # kinds of CIs of a cluster, by alert name
MAX_PAST = 10_000  # incidents whose recurrence is known as such
MAX_CHECKS = 20_000  # whose blips are counted
MAX_CIS = 100_000  # whose clock's error is remembered
MAX_EPISODES = 100  # of a member, while its cluster gathers
MAX_CHANGES = 10_000  # CIs whose latest change is remembered
