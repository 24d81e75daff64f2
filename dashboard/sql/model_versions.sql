-- One row per model and version.
select
    model,
    model_version,
    is_in_use,
    trained_at,
    learned_until,
    rows,
    roc_auc,
    baseline_roc_auc,
    gain_low,
    gain_high,
    calibration_error,
    top_decile_lift
from bronze.model_versions
order by model, model_version desc
