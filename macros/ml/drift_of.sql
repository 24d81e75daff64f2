{#- The query of a model of drift: of each day and feature how far the profiles that were scored are
    from those that their version was judged on, as the population stability index. `where` leaves out
    profiles that it was not judged on. -#}
{%- macro drift_of(name, model, scores, profile, date, entity, where = 'true') -%}
with

scores as (

    select *
    from {{ scores }}
    where {{ is_near_news(scores, date, 0) }}

),

days_with_news as (

    select distinct {{ date }}
    from scores
    where {{ is_new('_batch_id') }}

),

scores_of_days as (

    select scores.*
    from scores
    left semi join days_with_news
        on scores.{{ date }} = days_with_news.{{ date }}

),

profiles as (

    select *
    from {{ ref(profile) }}
    where
        {{ where }}
        and {{ is_near_news(scores, date, 0) }}

),

-- each column of the profile by its name
figures as (

    select
        scores_of_days.{{ date }},
        scores_of_days.model_version,
        scores_of_days._batch_id,
        explode(map_entries(map_concat(
            from_json(
                to_json(struct(profiles.*), map('ignoreNullFields', 'false')),
                'map<string, string>'
            ),
            map('score', cast(scores_of_days.score as string))
        ))) as figure
    from scores_of_days
    inner join profiles
        on
            scores_of_days.{{ date }} = profiles.{{ date }}
            {%- for column in entity %}
            and scores_of_days.{{ column }} = profiles.{{ column }}
            {%- endfor %}

),

spreads as (

    select *
    from {{ source('bronze_ml', 'model_spreads') }}
    where model = '{{ model }}'

),

binned_figures as (

    select
        figures.{{ date }},
        figures.model_version,
        spreads.feature,
        figures._batch_id,
        case
            when figures.figure.value is null then 0
            when spreads.edges is not null
                then
                    1 + size(
                        filter(spreads.edges, edge -> edge < cast(figures.figure.value as double))
                    )
            else
                coalesce(
                    nullif(array_position(spreads.categories, figures.figure.value), 0),
                    size(spreads.categories) + 1
                )
        end as bin
    from figures
    inner join spreads
        on
            figures.model_version = spreads.model_version
            and figures.figure.key = spreads.feature

),

bins as (

    select
        {{ date }},
        model_version,
        feature,
        bin,
        count(*) as in_bin
    from binned_figures
    group by {{ date }}, model_version, feature, bin

),

features as (

    select
        {{ date }},
        model_version,
        feature,
        count(*) as profiles,
        max(_batch_id) as _batch_id
    from binned_figures
    group by {{ date }}, model_version, feature

),

all_bins as (

    select
        model_version,
        feature,
        importance,
        shares,
        explode(sequence(0, size(shares) - 1)) as bin
    from spreads

),

shares as (

    select
        features.*,
        all_bins.importance,
        -- a bin that one of both lacks would weigh without end
        greatest(all_bins.shares[all_bins.bin], 0.0001) as expected,
        greatest(coalesce(bins.in_bin, 0) / features.profiles, 0.0001) as found
    from features
    inner join all_bins
        on
            features.model_version = all_bins.model_version
            and features.feature = all_bins.feature
    left outer join bins
        on
            features.{{ date }} = bins.{{ date }}
            and features.model_version = bins.model_version
            and features.feature = bins.feature
            and all_bins.bin = bins.bin

),

{{ name }} as (

    select
        {{ date }},
        model_version,
        feature,
        profiles,
        sum((found - expected) * ln(found / expected)) as stability_index,
        importance,
        _batch_id
    from shares
    group by {{ date }}, model_version, feature, profiles, importance, _batch_id

)

select * from {{ name }}
{%- endmacro -%}
