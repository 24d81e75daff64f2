-- One row per point of a curve of a version that is in use.
select
    curves.model,
    curves.model_version,
    curves.curve,
    curves.place,
    curves.x,
    curves.y,
    curves.rows
from bronze.model_curves as curves
inner join bronze.model_versions as versions
    on
        curves.model = versions.model
        and curves.model_version = versions.model_version
        and versions.is_in_use
order by curves.model, curves.curve, curves.place
