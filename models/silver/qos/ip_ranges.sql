{#- One row per range of addresses of a snapshot and prefix under which it is found: of a range that
    was delivered twice the last delivery. Ranges may overlap: ip_lookup chooses. -#}
{%- set range_key = ['kind', 'valid_from', 'range_start', 'range_end'] -%}
{%- set delivery_order = ['_modified_at', '_bucket', '_key', '_version', '_ordinal'] -%}
{{
    config(
        unique_key = ['kind', 'valid_from', 'bucket', 'range_start', 'range_end'],
        prune_by = ['valid_from', 'kind'],
        latest_by = delivery_order,
        clustered_by = ['kind', 'valid_from', 'bucket']
    )
}}

with

ranges_delivered as (

    select *
    from {{ ref('ip_ranges_parsed') }}
    where
        reject_reason is null
        and {{ is_new('_batch_id') }}

),

ranked_deliveries as (

    select
        *,
        max(_batch_id) over (partition by {{ range_key | join(', ') }}) as _newest_batch_id,
        row_number() over (
            partition by {{ range_key | join(', ') }}
            order by {{ delivery_order | join(' desc, ') }} desc
        ) as delivery_rank
    from ranges_delivered

),

ranges as (

    select *
    from ranked_deliveries
    where delivery_rank = 1

),

ranges_with_prefix as (

    select
        *,
        case
            {%- for version, digits in [(4, 8), (6, 32)] %}
            {%- for length in ip_buckets(version) %}
            when
                length(range_start) = {{ digits }}
                {%- if not loop.last %}
                and cast(conv(left(range_end, {{ length }}), 16, 10) as bigint)
                - cast(conv(left(range_start, {{ length }}), 16, 10) as bigint) < 16
                {%- endif %}
                then {{ length }}
            {%- endfor %}
            {%- endfor %}
        end as prefix_length
    from ranges

),

ip_ranges as (

    select
        kind,
        valid_from,
        lower(lpad(hex(prefix), prefix_length, '0')) as bucket,
        range_start,
        range_end,
        country_code,
        as_number,
        organisation,
        source,
        _bucket,
        _key,
        _version,
        _ordinal,
        _modified_at,
        _newest_batch_id as _batch_id
    from ranges_with_prefix
        lateral view
        explode(sequence(
            cast(conv(left(range_start, prefix_length), 16, 10) as bigint),
            cast(conv(left(range_end, prefix_length), 16, 10) as bigint)
        )) as prefix

)

select * from ip_ranges
