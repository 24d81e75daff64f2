{#- Records that are lost, or come from nowhere, between a bronze table and a table of silver: each
    record of bronze must be a row of the view that parses it, and the keys of the rows that are
    fit must be the keys of the table. So what was received is kept, superseded by another
    delivery of its key, or unfit with a reason.

    Batches above the table's newest are for the next run (`is_new`). What is gone from bronze
    (retention) is no loss. With `days` only batches of the last days are looked at, for large
    tables. `parsed_key`: the key's columns as the view has them, where they differ.

    dbt also runs it where only the view was built, and the table may not be there yet. -#}
{%- test conserves_records(
    model, bronze, parsed, key, parsed_key=none, fit='true', days=none
) -%}
{%- if execute and load_relation(model) is none -%}
select 'nothing is built' as problem where false
{%- else -%}
{%- set columns = key | join(', ') -%}
{%- set since = '_ingested_at >= current_date() - ' ~ days if days else 'true' -%}
{%- set first = '(select min(_batch_id) from ' ~ bronze ~ ' where ' ~ since ~ ')' -%}
{%- set last = '(select max(_batch_id) from ' ~ model ~ ')' -%}
with

counts as (

    select
        (
            select count(*) from {{ bronze }} where _batch_id between {{ first }} and {{ last }}
        ) as in_bronze,
        (
            select count(*) from {{ parsed }} where _batch_id between {{ first }} and {{ last }}
        ) as in_view

),

keys as (

    select
        {%- for column in key %}
        {{ (parsed_key or key)[loop.index0] }} as {{ column }},
        {%- endfor %}
        true as is_fit,
        false as is_kept,
        false as is_in_bronze
    from {{ parsed }}
    where
        {{ fit }}
        and _batch_id between {{ first }} and {{ last }}
    union all
    select
        {{ columns }},
        false as is_fit,
        true as is_kept,
        -- a row has the number of the newest batch with its key
        _batch_id >= {{ first }} as is_in_bronze
    from {{ model }}

),

problems as (

    select
        {{ columns }},
        case when bool_or(is_kept) then 'from nowhere' else 'lost' end as problem
    from keys
    group by {{ columns }}
    having
        not bool_or(is_kept)
        or (not bool_or(is_fit) and bool_or(is_in_bronze))

)

select
    problem,
    to_json(struct({{ columns }})) as record
from problems
union all
select
    'not parsed once each' as problem,
    to_json(struct(in_bronze, in_view)) as record
from counts
where in_bronze <> in_view

{%- endif -%}
{%- endtest -%}
