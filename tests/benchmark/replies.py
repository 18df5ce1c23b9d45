"""Replies of a worker process."""

OPENED = {
    "compile_ms": 1.0,
    "first_inference_ms": 1.0,
    "warm_up_s": 0.3,
    "steady": True,
    "usable_cpus": 2,
    "quota_cpus": None,
    "precision": "f32",
    "layers": None,
    "flops": 1000,
    "streams": 1,
    "requests": 1,
    "threads": 1,
    "pinned": 1,
    "loaded_from_cache": False,
    "execution_devices": ["CPU"],
}
WINDOW = {"seconds": 0.1, "inferences": 10, "latency_mean_ms": 10.0, "latency_max_ms": 10.0}
ROUND = {
    "windows": [WINDOW],
    "latencies_ms": [[10.0] * 10],
    "stretches": [[0.1, 10, 0.1, 0.0]],
    "peak_rss_mib": 1.0,
    "rss_growth_mib": 0.5,
}
