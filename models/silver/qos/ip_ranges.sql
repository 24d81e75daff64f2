{#- One row per range of addresses of a snapshot and prefix under which it is found. The ranges of
    a kind and snapshot do not overlap: the loader sees to that. -#}
{{
    config(
        unique_key = ['kind', 'valid_from', 'bucket', 'range_start'],
        prune_by = ['valid_from', 'kind'],
        clustered_by = ['kind', 'valid_from', 'bucket']
    )
}}

with

ranges_delivered as (

    select
        data,
        _batch_id
    from {{ source('bronze_qos', 'ip_ranges') }}
    where {{ is_new('_batch_id') }}

),

records as (

    select
        from_json(
            data,
            'kind string, first string, last string, country string, as_number bigint,
            organisation string, valid_from date, source string'
        ) as record,
        _batch_id
    from ranges_delivered

),

ranges as (

    select
        record.kind,
        record.valid_from,
        record.first as range_start,
        record.last as range_end,
        upper(record.country) as country_code,
        record.as_number,
        record.organisation,
        record.source,
        max(_batch_id) as _batch_id
    from records
    where
        record.kind in ('country', 'asn')
        and length(record.first) = length(record.last)
        and record.first <= record.last
    group by all

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
        _batch_id
    from ranges_with_prefix
        lateral view
        explode(sequence(
            cast(conv(left(range_start, prefix_length), 16, 10) as bigint),
            cast(conv(left(range_end, prefix_length), 16, 10) as bigint)
        )) as prefix

)

select * from ip_ranges
