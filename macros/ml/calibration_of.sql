{#- The query of a view of calibration: of each version and day whose outcome is known, after all
    that the version has learned from, what was foretold and what came. The outcome is that of
    loaders/ml/datasets. -#}
{%- macro calibration_of(
    name, model, entity, activity, date, known_of = [], profile = none, where = none,
    is_return = 'true'
) -%}
with

{%- if where %}

profiles as (

    select
        profile_date,
        {{ entity | join(', ') }}
    from {{ ref(profile) }}
    where {{ where }}

),
{%- endif %}

scores as (

    select
        scores.profile_date,
        {%- for column in entity %}
        scores.{{ column }},
        {%- endfor %}
        scores.score,
        scores.model_version
    from {{ source('bronze_ml', 'scores_' ~ model) }} as scores
    inner join {{ source('bronze_ml', 'model_versions') }} as versions
        on
            versions.model = '{{ model }}'
            and scores.model_version = versions.model_version
            and scores.profile_date > versions.learned_until

),

activity as (

    select
        {{ entity | join(', ') }},
        {{ date }} as active_on,
        {{ is_return }} as is_return
    from {{ ref(activity) }}

),

newest_days as (

    select
        {%- for column in known_of %}
        {{ column }},
        {%- endfor %}
        max(active_on) as newest_date
    from activity
    {%- if known_of %}
    group by {{ known_of | join(', ') }}
    {%- endif %}

),

scores_with_outcome as (

    select scores.*
    from scores
    {%- if where %}
    left semi join profiles
        on
            scores.profile_date = profiles.profile_date
            {%- for column in entity %}
            and scores.{{ column }} = profiles.{{ column }}
            {%- endfor %}
    {%- endif %}
    inner join newest_days
        on
            date_add(scores.profile_date, 14) < newest_days.newest_date
            {%- for column in known_of %}
            and scores.{{ column }} = newest_days.{{ column }}
            {%- endfor %}

),

returns as (

    select distinct
        scores_with_outcome.profile_date,
        scores_with_outcome.{{ entity | join(', scores_with_outcome.') }}
    from scores_with_outcome
    inner join activity
        on
            activity.is_return
            {%- for column in entity %}
            and scores_with_outcome.{{ column }} = activity.{{ column }}
            {%- endfor %}
            and scores_with_outcome.profile_date < activity.active_on
            and date_add(scores_with_outcome.profile_date, 14) >= activity.active_on

),

{{ name }} as (

    select
        scores_with_outcome.profile_date,
        scores_with_outcome.model_version,
        count(*) as profiles,
        avg(scores_with_outcome.score) as foretold,
        count_if(returns.profile_date is null) / count(*) as came
    from scores_with_outcome
    left outer join returns
        on
            scores_with_outcome.profile_date = returns.profile_date
            {%- for column in entity %}
            and scores_with_outcome.{{ column }} = returns.{{ column }}
            {%- endfor %}
    group by scores_with_outcome.profile_date, scores_with_outcome.model_version

)

select * from {{ name }}
{%- endmacro -%}
